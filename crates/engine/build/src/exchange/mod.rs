//! Results of steps that go from one machine to another: `--cache-to`, `--cache-from`.
//!
//! Owns: the form in which results are given away, where they go, and taking them in when a build asks for one.
//! Does not own: keys and the machine's own records ([`crate::cache`]), registries (hako-image).
//!
//! ```text
//! registry, local    manifest ──> configuration: records (keys, layer by number), diff ids, cache mounts
//!                            └──> layers: what steps made, what cache mounts hold
//! inline             a field of the image's own configuration: records; layers are those of the image
//! ```
//!
//! Invariant: a record that came from elsewhere is used only after its layer was fetched, verified against digest,
//! size and diff id, and unpacked within the limits of any image's layer; then it is one of this machine's. What
//! cannot be had so is told of and made here. docs/decisions/0008-build-cache-export.md

mod config;
mod export;
mod import;
mod layout;
mod mounts;
mod source;

pub(crate) use export::{check, export, inline, steps};
pub(crate) use import::{Imported, Imports};
pub(crate) use mounts::fill;
