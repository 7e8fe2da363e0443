//! One platform in one process: what is linked in, in which order it starts, and how it is taken down.
//!
//! Owns: the data directory's lock and instance, the wiring of the crates ([`machine`], [`cluster`], [`builtins`]), `server.json`.
//! Does not own: any state beyond that; what was running before is adopted by the crates themselves.
//! Invariant: at most one process works on a data directory, held by a lock that dies with the process.

mod adapters;
mod builtins;
mod cluster;
mod directory;
mod machine;
mod sockets;
mod store;

pub(crate) use builtins::{Platform, take_down};
pub(crate) use directory::{RESTORING, claim, is_unused, lock_holder, make_private, refuse_foreign, release};
