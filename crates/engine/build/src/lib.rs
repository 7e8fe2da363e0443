//! From a Dockerfile to an image.
//!
//! Owns: the Dockerfile's grammar ([`dockerfile`]), which files of the context count, the graph of stages, the
//! cache of steps, and running the steps. Does not own: how a process is isolated (hako-runtime), how layers and
//! images are stored (hako-image).
//!
//! Invariant: an image appears only when every step of its stages has succeeded. A build that fails or is
//! dropped leaves no snapshot, process or mount behind.

mod agent;
mod ahead;
mod archive;
mod attest;
mod binfmt;
mod builder;
mod cache;
mod caches;
pub mod check;
mod client;
mod compile;
mod context;
mod copy;
mod dest;
mod devices;
mod digests;
pub mod dockerfile;
mod error;
mod exchange;
mod failed;
mod files;
mod fresh;
mod git;
mod graph;
mod http;
mod ignore;
mod interrupt;
mod layout;
mod limits;
mod link;
mod links;
mod listings;
mod log;
mod mounts;
mod network;
mod output;
mod pattern;
mod platform;
mod registry;
mod request;
mod run;
mod scratch;
mod settling;
mod shared;
mod solve;
mod state;
mod step;
mod text;
mod times;
mod tls;
mod users;

pub use archive::{decompressed, is_compressed};
pub use builder::{Builder, BuilderConfig};
pub use cache::{CachedStep, Keep};
pub use client::Client;
pub use context::{Registry, check_remote, in_lower_case};
pub use dest::{FOR_ALL, NewFile};
pub use error::BuildError;
pub use files::absolute;
pub use git::is_repository;
pub use http::open_address;
pub use limits::{RunLimits, rlimit};
pub use output::Built;
pub use registry::Registries;
pub use request::{
    BuildEvent, BuildRequest, CacheExport, CacheMode, CacheSource, CacheTarget, Entitlement, Output,
    OutputStream, Provenance, ProvenanceMode, RunNetwork, Secret, StepOutcome, extra_host, image_field,
};

#[cfg(test)]
mod tests;
