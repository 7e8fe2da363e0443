//! What can go wrong with control groups.

use std::io;
use std::path::PathBuf;

use hako_error::{Classify, Kind};

/// A failed operation on control groups.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No hierarchy is mounted.
    #[error("no cgroup hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")]
    NoHierarchy,
    /// A path that leaves the hierarchy.
    #[error("cgroup path {path:?} must be absolute and without '..'")]
    BadPath {
        /// The path as given.
        path: String,
    },
    /// The group does not exist.
    #[error("cgroup {path} does not exist")]
    NotFound {
        /// The group's path inside the hierarchies.
        path: String,
    },
    /// A limit was asked for and this machine has no controller for it.
    #[error(
        "cgroup controller {controller} is not available, so {path} cannot be limited by it; enable it on the kernel command line or drop the limit"
    )]
    NoController {
        /// The missing controller.
        controller: &'static str,
        /// The group's path inside the hierarchies.
        path: String,
    },
    /// A limit that this kernel, or this version of control groups, does not have.
    #[error("{limit} cannot be limited here: {path} is not known to this kernel; drop the limit")]
    Unsupported {
        /// The limit, in words.
        limit: &'static str,
        /// The file or directory it would have gone to.
        path: PathBuf,
    },
    /// More memory is in use than the new limit allows.
    #[error("memory limit {limit} of cgroup {path} is below its present usage of {usage} bytes")]
    BelowUsage {
        /// The limit asked for.
        limit: u64,
        /// What is used.
        usage: u64,
        /// The group's path inside the hierarchies.
        path: String,
    },
    /// Processes are left in a group that is to be removed.
    #[error("cgroup {path} still has processes; kill them first")]
    Busy {
        /// The group's path inside the hierarchies.
        path: String,
    },
    /// Reading or writing one file.
    #[error("cannot {action} {path}")]
    Io {
        /// The verb, such as `write "100" to`.
        action: String,
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Classify for CgroupError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoHierarchy | Self::NoController { .. } | Self::Unsupported { .. } => Kind::Unimplemented,
            Self::BadPath { .. } => Kind::Invalid,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Busy { .. } | Self::BelowUsage { .. } => Kind::FailedPrecondition,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => Kind::NotFound,
                io::ErrorKind::PermissionDenied => Kind::Forbidden,
                io::ErrorKind::InvalidInput => Kind::Invalid,
                _ => Kind::Internal,
            },
        }
    }
}
