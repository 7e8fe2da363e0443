//! What tests of several crates share.
//!
//! Owns: the shim executable of tests ([`shim_exe`]).
//! Does not own: anything production code could need; nothing depends on this crate outside tests.
//! Invariant: a test binary that links this crate behaves as `hako` when it is re-executed with `shim` or
//! `runtime` as its first argument.

use std::path::PathBuf;

/// The executable to start shims with: this test binary itself.
#[must_use]
pub fn shim_exe() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}
