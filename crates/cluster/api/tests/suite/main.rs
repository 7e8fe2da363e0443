//! The API server as its clients see it: a real server on a port of its own, driven through both transports of
//! `hako-client`, through kubectl and through the `kube` crate.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod admission;
mod contract;
mod identities;
mod kinds;
mod kube_crate;
mod kubectl;
mod limits;
mod node_proxy;
mod pod_parts;
mod proxy;
mod rbac;
mod renewal;
mod sealing;
mod support;
mod system_objects;
mod tokens;
mod versions;
