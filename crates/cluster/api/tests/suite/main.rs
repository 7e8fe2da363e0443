//! The API server as its clients see it: a real server on a port of its own, driven through both transports of
//! `hako-client`, through kubectl and through the `kube` crate.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod admission;
mod aggregated;
mod architecture;
mod attacks;
mod audit;
mod bodies;
mod ciphers;
mod components;
mod contract;
mod custom_resources;
mod every_kind;
mod flow;
mod fuzz;
mod identities;
mod informers;
mod kinds;
mod kube_crate;
mod kubectl;
mod kubectls;
mod limits;
mod metrics;
mod node_proxy;
mod plain;
mod pod_parts;
#[path = "../../../../../tests/programs.rs"]
mod programs;
mod protobuf;
mod proxy;
mod raw;
mod rbac;
mod reads;
mod registered;
mod renewal;
mod reviews;
mod sdk;
mod sealing;
mod seen;
mod service_addresses;
mod support;
mod system_objects;
mod table;
mod tls;
mod tokens;
mod unreadable;
mod versions;
mod writes;
