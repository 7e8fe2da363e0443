//! What can go wrong with a layer.

use super::reader::{Entry, EntryKind};
use hako_error::{Classify, Kind};
use rustix::io::Errno;
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// Why a layer could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The stream broke, or is not what it claims to be, or there is no place for it.
    #[error("{}", broken(layer, source))]
    Stream {
        /// Which layer.
        layer: String,
        /// Where it breaks.
        source: io::Error,
    },
    /// A name or link that would leave the root file system, or what has no place in a layer.
    #[error("{layer}: entry {entry:?} is refused, {reason}")]
    Hostile {
        /// Which layer.
        layer: String,
        /// The entry's name.
        entry: String,
        /// Why.
        reason: Cow<'static, str>,
    },
    /// A name or link that has no place in the root file system.
    #[error("{layer}: entry {entry:?} is refused, {reason}")]
    Misplaced {
        /// Which layer.
        layer: String,
        /// The entry's name.
        entry: String,
        /// Why.
        reason: String,
        /// What the file system said.
        source: io::Error,
    },
    /// Beyond what such a layer may take.
    #[error("{layer}: {what} exceeds the limit of {limit}")]
    TooBig {
        /// Which layer.
        layer: String,
        /// What grew too much.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// The file system refused.
    #[error("{layer}: cannot {action} {entry:?}")]
    Write {
        /// Which layer.
        layer: String,
        /// What was being done.
        action: &'static str,
        /// The entry's name.
        entry: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Classify for ApplyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Stream { source, .. } | Self::Write { source, .. } if is_full(source) => Kind::Exhausted,
            Self::Stream { .. } | Self::Hostile { .. } | Self::Misplaced { .. } | Self::TooBig { .. } => {
                Kind::Invalid
            }
            Self::Write { .. } => Kind::Internal,
        }
    }
}

impl ApplyError {
    /// Whether a system call failed for what is, or is not, in the directory: not for lack of space.
    pub(crate) fn is_of_this_place(&self) -> bool {
        match self {
            Self::Write { source, .. } => !is_full(source),
            Self::Misplaced { .. } => true,
            Self::Stream { .. } | Self::Hostile { .. } | Self::TooBig { .. } => false,
        }
    }

    /// What a system call said of an entry: some of it is the entry's own fault.
    pub(super) fn of(layer: &str, action: &'static str, entry: &Entry, error: Errno) -> Self {
        let (layer, source) = (layer.to_owned(), io::Error::from(error));
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        let reason = match (&entry.kind, action, error) {
            (EntryKind::HardLink(target), "create", Errno::NOENT | Errno::NOTDIR | Errno::PERM) => {
                let target = String::from_utf8_lossy(target);
                format!("it is a hard link to {target:?}, and there is no such file in the image")
            }
            (_, "reach", Errno::EXIST | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                "its way leads through a file, or through a symlink to nothing in the image".to_owned()
            }
            (_, "reach", Errno::NAMETOOLONG) => {
                "its way leads through symlinks to a place more than 1024 directories deep".to_owned()
            }
            _ => return Self::Write { layer, action, entry: name, source },
        };
        Self::Misplaced { layer, entry: name, reason, source }
    }
}

/// Why no layer could be made of a directory.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// overlayfs features that hide content from the upper directory.
    #[error("{path:?} was written with the overlayfs feature {feature}, which a layer cannot express")]
    Feature {
        /// The file.
        path: PathBuf,
        /// The feature.
        feature: &'static str,
    },
    /// A file could not be read or the tar not be written.
    #[error("{action} {path:?}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Classify for DiffError {
    fn kind(&self) -> Kind {
        match self {
            Self::Feature { .. } => Kind::Unimplemented,
            Self::Io { source, .. } if is_full(source) => Kind::Exhausted,
            Self::Io { .. } => Kind::Internal,
        }
    }
}

/// Nothing is wrong with a layer that does not fit.
fn broken(layer: &str, source: &io::Error) -> String {
    if is_full(source) {
        format!("the disk is full, {layer} cannot be written; \"hako system prune\" frees space")
    } else {
        format!("{layer} is damaged or cut short")
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
