//! What tests of several crates share.
//!
//! Owns: the shim executable of tests ([`shim_exe`]).
//! Does not own: anything production code could need; nothing depends on this crate outside tests.
//! Invariant: a test binary that links this crate behaves as `hako` when it is re-executed with `shim` or
//! `runtime` as its first argument, or under the name `hako-runtime`.

use std::ffi::OsString;
use std::path::PathBuf;

/// The executable to start shims with: the one `HAKO_SHIM_EXE` names (a release build, to measure it), else this test
/// binary itself.
#[must_use]
pub fn shim_exe() -> PathBuf {
    std::env::var_os("HAKO_SHIM_EXE").map_or_else(|| PathBuf::from("/proc/self/exe"), PathBuf::from)
}

/// Runs before `main` of every test binary that links this crate: a test's shim is the test binary started anew, and
/// must not start the test harness.
#[ctor::ctor(unsafe)]
fn enter_shim() {
    let mut args = std::env::args_os();
    if args.next().is_some_and(|name| hako_runtime::is_runtime_name(&name)) {
        std::process::exit(hako_runtime::cli_code(args.collect::<Vec<OsString>>()).into());
    }
    match args.next() {
        Some(first) if first == "shim" => hako_runtime::shim_main(args.collect::<Vec<OsString>>()),
        Some(first) if first == "runtime" => {
            std::process::exit(hako_runtime::cli_code(args.collect::<Vec<OsString>>()).into())
        }
        _ => {}
    }
}
