//! The Docker Engine API, as far as a single machine's containers, images and builds need it.
//!
//! Owns: routes, version negotiation, Docker's JSON, stream framing, the mapping of errors to statuses.
//! Does not own: anything that lasts; containers, images and builds live in the engine's crates.
//! Invariant: a field that cannot be honoured is refused by name, a route that is not built answers 501; nothing is
//! accepted and then ignored that would change what a container may do.

mod api;
mod archive;
mod build;
mod build_limits;
mod build_prune;
mod buildkit;
mod clean;
mod client;
mod container;
mod detach;
mod df;
mod drain;
mod error;
mod events;
mod exec;
mod frame;
mod glob;
mod graph;
mod hako_build;
mod hijack;
mod human;
mod image;
mod info;
mod named;
mod names;
mod network;
mod params;
mod record;
mod registry;
mod relay;
mod server;
mod sizes;
mod state;
mod stats;
mod system;
mod volume;
mod websocket;
pub mod wire;

pub use record::Exchange;
pub use server::{serve, serve_all};
pub use state::DockerState;
