//! The registry as clients see it: request by request, and through real clients.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod auth;
mod cache;
mod collect;
mod conditions;
mod configured;
mod crash;
mod disk;
mod docker;
mod events;
mod fields;
mod memory;
mod oci_client;
mod oracle;
mod podman;
mod policy;
mod pull;
mod push;
mod referrers;
mod s3;
mod skopeo;
mod support;
mod watch;
