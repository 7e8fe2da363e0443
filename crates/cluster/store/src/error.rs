//! Why a store said no.

use std::path::PathBuf;
use std::sync::Arc;

use hako_error::{Classify, Kind};

use crate::types::{Entry, LeaseId, Revision};

/// Shorthand for results of a store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a store said no. Cloneable: one failed commit answers every write that was in it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The key was expected to be absent.
    #[error("key {} exists already at revision {}", current.key.escape_ascii(), current.modified)]
    AlreadyExists {
        /// The key as it is.
        current: Arc<Entry>,
    },
    /// The key changed since the caller read it.
    #[error("key {} is at revision {}, expected {expected}", current.key.escape_ascii(), current.modified)]
    Conflict {
        /// What the caller expected.
        expected: Revision,
        /// The key as it is.
        current: Arc<Entry>,
    },
    /// Another key that the write relies on has changed or gone since the caller read it.
    #[error("key {} has changed, which the write of another relies on", key.escape_ascii())]
    Outdated {
        /// The other key.
        key: bytes::Bytes,
    },
    /// The key does not exist.
    #[error("key {} does not exist", key.escape_ascii())]
    NotFound {
        /// The key.
        key: bytes::Bytes,
    },
    /// History that far back is gone: list again and go on from there.
    #[error(
        "revision {requested} was compacted, history starts after {compacted}; list again and go on from there"
    )]
    Compacted {
        /// What was asked for.
        requested: Revision,
        /// The newest revision whose history is gone.
        compacted: Revision,
    },
    /// The revision is still to come.
    #[error("revision {requested} is in the future, the store is at {current}")]
    FutureRevision {
        /// What was asked for.
        requested: Revision,
        /// The newest revision there is.
        current: Revision,
    },
    /// The lease expired, was revoked or never was.
    #[error("lease {id} does not exist or has expired")]
    LeaseNotFound {
        /// The lease.
        id: LeaseId,
    },
    /// A key or value that can never be stored.
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// `key` or `value`.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// No space is left.
    #[error("no space left on the disk of {}: writes are refused until there is", path.display())]
    DiskFull {
        /// The store's directory.
        path: PathBuf,
    },
    /// The disk or the database on it failed.
    #[error("the store on {} refuses writes: {reason}", path.display())]
    Disk {
        /// The store's directory.
        path: PathBuf,
        /// What it said.
        reason: Arc<str>,
    },
    /// Another process holds the directory.
    #[error("the store on {} is in use by another process", path.display())]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// What is on the disk is not what was stored.
    #[error("the store on {} is damaged: {reason}; restore it from a backup", path.display())]
    Damaged {
        /// The store's directory.
        path: PathBuf,
        /// What is wrong.
        reason: Arc<str>,
    },
    /// A sealed record does not open.
    #[error(
        "the record {} cannot be read: {reason} {}; put that file back as it was, from a backup of hako, and start hako \
         again",
        key.escape_ascii(),
        path.display()
    )]
    Unreadable {
        /// The record.
        key: bytes::Bytes,
        /// The file of keys.
        path: PathBuf,
        /// What is wrong, ending where the file's name follows.
        reason: Arc<str>,
    },
    /// There are no keys to seal and open records with.
    #[error(
        "what is kept sealed can be neither read nor written, for want of the keys in {}: {reason}; put that file back \
         from a backup of hako and start hako again",
        path.display()
    )]
    KeysUnavailable {
        /// The file of keys.
        path: PathBuf,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// A store on other machines does not answer, or refuses us.
    #[error("the store at {endpoints} does not serve: {reason}")]
    Remote {
        /// Its addresses.
        endpoints: Arc<str>,
        /// What was asked, and what was said.
        reason: Arc<str>,
    },
    /// A store on other machines is over its quota.
    #[error(
        "the store at {endpoints} is over its quota of space: compact and defragment it, then disarm its alarm"
    )]
    RemoteFull {
        /// Its addresses.
        endpoints: Arc<str>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Classify for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::AlreadyExists { .. } => Kind::AlreadyExists,
            Self::Conflict { .. } | Self::Outdated { .. } => Kind::Conflict,
            Self::NotFound { .. } | Self::LeaseNotFound { .. } => Kind::NotFound,
            Self::Compacted { .. } | Self::InUse { .. } => Kind::FailedPrecondition,
            Self::TooLarge { .. } => Kind::Invalid,
            Self::DiskFull { .. } | Self::RemoteFull { .. } => Kind::Exhausted,
            Self::FutureRevision { .. } | Self::Disk { .. } | Self::Remote { .. } | Self::Closed => {
                Kind::Unavailable
            }
            Self::KeysUnavailable { .. } => Kind::Unavailable,
            Self::Damaged { .. } | Self::Unreadable { .. } => Kind::DataLoss,
        }
    }
}
