//! The controllers on the real API, with a node that only pretends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod cluster;
mod custom_resources;
mod fake_node;
mod garbage;
mod namespaces;
mod objects;
mod service_cidrs;
mod storage_migration;
mod volumes;
mod workloads;
