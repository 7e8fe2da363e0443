//! What can go wrong with a blob.

use hako_error::{Classify, Kind};
use hako_names::Digest;
use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on the content store failed.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// No such blob.
    #[error("blob {digest} is not in the content store")]
    NotFound {
        /// The blob asked for.
        digest: Digest,
    },
    /// The bytes hash to something else than was promised.
    #[error("{what}: digest mismatch, expected {expected} but the bytes hash to {actual}")]
    DigestMismatch {
        /// What was being written.
        what: String,
        /// The digest promised.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// More or fewer bytes than promised.
    #[error("{what}: size mismatch, expected {expected} bytes but got {actual}")]
    SizeMismatch {
        /// What was being written.
        what: String,
        /// The size promised.
        expected: u64,
        /// The size of what came.
        actual: u64,
    },
    /// A stored blob no longer has the bytes it was stored with.
    #[error("blob {digest} is damaged on disk: its bytes hash to {actual}; delete it and fetch it again")]
    Damaged {
        /// The blob's name.
        digest: Digest,
        /// What its bytes hash to now.
        actual: Digest,
    },
    /// Too big to be read into memory.
    #[error("blob {digest} has {size} bytes, more than the {limit} that may be read at once")]
    TooLarge {
        /// The blob's name.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// A lease protects it.
    #[error("blob {digest} is in use, a lease protects it")]
    InUse {
        /// The blob's name.
        digest: Digest,
    },
    /// A lease's id would not be a safe file name.
    #[error("{id:?} is not a lease id, expected 1 to 128 of [A-Za-z0-9_.-], not starting with '.'")]
    LeaseId {
        /// The id.
        id: String,
    },
    /// No space left.
    #[error("no space left on the disk for {what}; free some space under {path:?}")]
    Full {
        /// What was being written.
        what: String,
        /// Where.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("{action} {path:?}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Classify for ContentError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } | Self::LeaseId { .. } => Kind::Invalid,
            Self::Damaged { .. } => Kind::DataLoss,
            Self::TooLarge { .. } | Self::Full { .. } => Kind::Exhausted,
            Self::InUse { .. } => Kind::FailedPrecondition,
            Self::Io { .. } => Kind::Internal,
        }
    }
}

impl ContentError {
    /// Turns a failed system call into an error; a full disk becomes its own variant naming `what`.
    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a Path,
        what: &'a str,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| {
            if is_full(&source) {
                Self::Full { what: what.into(), path: path.into() }
            } else {
                Self::Io { action, path: path.into(), source }
            }
        }
    }
}

/// Whether an I/O error says that the disk or the quota is used up.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
