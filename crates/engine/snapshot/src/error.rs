//! What can go wrong with a snapshot.

use hako_error::{Classify, Kind};
use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on snapshots failed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No such snapshot.
    #[error("snapshot {name} does not exist")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// The name is taken.
    #[error("snapshot {name} exists already")]
    AlreadyExists {
        /// Its name.
        name: String,
    },
    /// Not a safe name.
    #[error("{name:?} is not a snapshot name, expected 1 to 128 of [A-Za-z0-9_.-], not starting with '.'")]
    Name {
        /// What was given.
        name: String,
    },
    /// A parent must be committed.
    #[error("snapshot {name} is not committed, only a committed one can be a parent")]
    NotCommitted {
        /// Its name.
        name: String,
    },
    /// Only active snapshots can be written or committed.
    #[error("snapshot {name} is not active")]
    NotActive {
        /// Its name.
        name: String,
    },
    /// It still has children.
    #[error("snapshot {name} is in use by {child}; remove that first")]
    InUse {
        /// Its name.
        name: String,
        /// One of its children.
        child: String,
    },
    /// A committed snapshot's record cannot be read.
    #[error(
        "the record of the snapshot in {path:?} is damaged; remove that directory and unpack the image again"
    )]
    Damaged {
        /// Its directory.
        path: PathBuf,
    },
    /// overlayfs is missing.
    #[error(
        "this kernel has no overlayfs; load the module \"overlay\" or build the kernel with CONFIG_OVERLAY_FS"
    )]
    NoOverlay,
    /// No space left.
    #[error("no space left on the disk for snapshot {name}; free some space under {path:?}")]
    Full {
        /// Its name.
        name: String,
        /// Where.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("{action} {path:?}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Classify for SnapshotError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::AlreadyExists { .. } => Kind::AlreadyExists,
            Self::Name { .. } => Kind::Invalid,
            Self::NotCommitted { .. } | Self::NotActive { .. } | Self::InUse { .. } => {
                Kind::FailedPrecondition
            }
            Self::Damaged { .. } => Kind::DataLoss,
            Self::NoOverlay => Kind::Unimplemented,
            Self::Full { .. } => Kind::Exhausted,
            Self::Io { .. } => Kind::Internal,
        }
    }
}

impl SnapshotError {
    pub(crate) fn io<'a, E: Into<io::Error>>(
        action: &'static str,
        path: &'a Path,
        name: &'a str,
    ) -> impl FnOnce(E) -> Self + 'a {
        move |source| {
            let source = source.into();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Self::Full { name: name.into(), path: path.into() }
                }
                _ => Self::Io { action, path: path.into(), source },
            }
        }
    }
}
