//! Health checks: a command that is run in a container again and again, and what its results come to.
//!
//! Owns: which check a container has ([`check`]), when it runs ([`monitor`]), what is known of it ([`table`]).
//! Does not own: the container's life; a check neither ends nor restarts anything.
//! Invariant: results are kept while the engine runs; after its restart a running container begins at `starting`.

mod check;
mod monitor;
mod table;

pub(crate) use check::Check;
pub(crate) use monitor::follow;
pub(crate) use table::{Status, Table};

/// The annotation under which a container's check is kept.
pub(crate) const HEALTH: &str = "docker.health";
