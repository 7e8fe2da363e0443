//! Control groups: version 1, version 2 and both at once (hybrid).
//!
//! Owns: finding the hierarchies of this machine, creating, limiting, measuring, freezing, killing and removing
//! groups in all of them at once.
//! Does not own: which group a container gets (the engine names it), nor who is put into it.
//!
//! Invariant: a [`Cgroup`] is one path that means the same group in every hierarchy; [`Cgroup::delete`] leaves none
//! of its directories behind.

mod device;
mod error;
mod file;
mod group;
mod limits;
mod root;
mod set;
mod stats;

pub use device::{Device, DeviceKind, DeviceRule};
pub use error::CgroupError;
pub use group::Cgroup;
pub use limits::{BlockDevice, BlockLimits, Limits};
pub use root::{CgroupRoot, Hierarchy, Version};
pub use stats::{IoStat, Stats, Throttling};
