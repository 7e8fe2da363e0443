//! From a Dockerfile to an image.
//!
//! Owns: the Dockerfile's grammar ([`dockerfile`]), which files of the context count, the graph of stages, the
//! cache of steps, and running the steps. Does not own: how a process is isolated (hako-runtime), how layers and
//! images are stored (hako-image).
//!
//! Invariant: an image appears only when every step of its stages has succeeded. A build that fails or is
//! dropped leaves no snapshot, process or mount behind.

mod builder;
mod cache;
mod copy;
pub mod dockerfile;
mod error;
mod files;
mod ignore;
mod network;
mod pattern;
mod plan;
mod request;
mod run;
mod shared;
mod stage;
mod state;
mod users;

pub use builder::{Builder, BuilderConfig};
pub use cache::CachedStep;
pub use error::BuildError;
pub use request::{BuildEvent, BuildRequest, OutputStream, RunNetwork, StepOutcome};

#[cfg(test)]
mod tests;
