//! What tests of several crates share.
//!
//! Owns: the shim executable of tests ([`shim_exe`]), whoever swaps files meanwhile ([`while_swapped`]).
//! Does not own: anything production code could need; nothing depends on this crate outside tests.
//! Invariant: a test binary that links this crate behaves as `hako` when it is re-executed with `shim` or
//! `runtime` as its first argument, or under the name `hako-runtime`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// The executable to start shims with: the one `HAKO_SHIM_EXE` names (a release build, to measure it), else this test
/// binary itself.
#[must_use]
pub fn shim_exe() -> PathBuf {
    std::env::var_os("HAKO_SHIM_EXE").map_or_else(|| PathBuf::from("/proc/self/exe"), PathBuf::from)
}

/// Swaps two names by renameat2(2) for as long as `work` goes on, which begins when they have been swapped once.
///
/// # Panics
/// If they cannot be swapped, or were not often meanwhile.
pub fn while_swapped<T>(a: &Path, b: &Path, work: impl FnOnce() -> T) -> T {
    let (is_over, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).expect("the two can be swapped");
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        // It ends with what is done meanwhile, however that ends.
        let over = Over(&is_over);
        while swaps.load(Ordering::Relaxed) == 0 && !swapping.is_finished() {
            std::thread::yield_now();
        }
        let done = work();
        drop(over);
        swapping.join().expect("swapping goes on");
        assert!(swaps.load(Ordering::Relaxed) > 100, "nothing was swapped meanwhile");
        done
    })
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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
