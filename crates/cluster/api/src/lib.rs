//! The Kubernetes-compatible API server: resources as data.
//!
//! Owns: requests from the first byte to the answer: TLS, identity, access, decoding, admission, defaults,
//! validation, storage, watches, tables, discovery, OpenAPI, and the way to nodes for logs, exec and
//! port-forward, to what pods, services and nodes serve, and to aggregated API servers.
//! Does not own: how keys are kept (`hako-store`), what controllers make of objects, anything of the engine.
//!
//! Invariant: there is one path for all kinds; a kind is a row of the registry ([`kinds::Kinds`]) and nothing else.
//!
//! ```text
//! bytes ─► Request ─► authorize ─► route ─► decode ─► default ─► admit ─► validate ─► encode once ─► store
//!                                    └─────► stored bytes + resourceVersion ─► object | table | watch frames
//! ```

mod admin;
mod admission;
mod aggregation;
mod aside;
mod audit;
pub mod auth;
mod config;
mod definitions;
mod discovery;
mod flow;
mod followed;
mod http;
mod intake;
pub mod kinds;
mod metrics;
mod node_proxy;
mod openapi;
pub mod patch;
pub mod pki;
pub mod protobuf;
mod proxy;
mod record;
mod resource;
mod route;
pub mod schema;
mod sealing;

mod server;
mod webhook_client;

pub use admission::DownWebhook;
pub use admission::webhooks::review as admission_review;
pub use audit::{Audit, AuditError, AuditOptions};
pub use auth::{External, ExternalError, ExternalOptions, Identity};
pub use config::{Limits, ServerConfig};
pub use record::{Exchange, Recorder};
pub use resource::answered as conversion_answered;
pub use server::Server;
