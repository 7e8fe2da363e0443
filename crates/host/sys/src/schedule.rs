//! How the calling thread is scheduled.
#![expect(unsafe_code, reason = "these calls have no safe form")]

use serde::{Deserialize, Serialize};
use std::io;

/// The kernel's `struct sched_attr`, as far as every kernel with it has it (Linux 3.14).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerAttributes {
    #[serde(skip)]
    size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds, for `SCHED_DEADLINE`, as are the two that follow.
    pub runtime: u64,
    /// See `runtime`.
    pub deadline: u64,
    /// See `runtime`.
    pub period: u64,
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the calling thread's policy and what belongs to it.
pub fn set_scheduler(attributes: SchedulerAttributes) -> io::Result<()> {
    let size = u32::try_from(size_of::<SchedulerAttributes>()).map_err(io::Error::other)?;
    let attributes = SchedulerAttributes { size, ..attributes };
    // SAFETY: the structure is as long as its size says and lives until the call returns.
    done(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
}

/// Sets the calling thread's priority for disks: class 1 to 3, priority 0 to 7 in it.
pub fn set_io_priority(class: u8, priority: u8) -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_SHIFT: u32 = 13;
    let value = (libc::c_int::from(class) << CLASS_SHIFT) | libc::c_int::from(priority);
    // SAFETY: numbers only.
    done(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) })
}

/// Sets which kind of system the calling thread sees.
pub fn set_personality(persona: u32) -> io::Result<()> {
    // SAFETY: a number only.
    done(unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(persona)) })
}
