//! Seccomp: the default profile, and profiles as BPF.
//!
//! Owns: translating an OCI profile to a program and remembering the last ones, for starting is what must be fast.
//! Does not own: loading it (`hako-sys`, from the container's init).
//! Invariant: what a profile does not name gets its default action; what this table of system calls is too old
//! to name fails with ENOSYS, so that programs fall back.

mod compile;
mod profile;
mod syscalls;

pub(crate) use compile::compile;
pub use hako_sys::SeccompInstruction;
pub use profile::default_profile;

use std::sync::{Arc, LazyLock};

use hako_error::Result;
use hako_oci::runtime::LinuxSeccomp;
use parking_lot::Mutex;

/// Programs kept: one profile is used by nearly all containers, some have one of their own.
const CACHED: usize = 8;

type Cached = (LinuxSeccomp, Arc<[SeccompInstruction]>);

static CACHE: LazyLock<Mutex<Vec<Cached>>> = LazyLock::new(Mutex::default);

/// The program for a profile.
///
/// # Errors
/// `Invalid` and `Unimplemented`: what the profile says that the kernel or this runtime cannot do.
pub fn program(profile: &LinuxSeccomp) -> Result<Arc<[SeccompInstruction]>> {
    if let Some((_, program)) = CACHE.lock().iter().find(|(known, _)| known == profile) {
        return Ok(program.clone());
    }
    let program: Arc<[SeccompInstruction]> = compile(profile)?.into();
    let mut cache = CACHE.lock();
    if cache.len() == CACHED {
        cache.remove(0);
    }
    cache.push((profile.clone(), program.clone()));
    Ok(program)
}
