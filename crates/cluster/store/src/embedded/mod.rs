//! The store that lives in this process on one directory.
//!
//! Owns: all entries in memory, their recent history, the writer thread and its database.
//! Does not own: the database format itself (see [`log`]).
//!
//! Invariant: memory only ever shows what a durable commit has accepted.

pub mod log;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Result, StoreError};
use crate::types::{Lease, LeaseId, Page, Range, Read, Revision, Status, Write, Written};
use crate::watch::Watch;
use crate::Store;

/// How much history is kept for watches to resume and for reads at older revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// At most so many events.
    pub max_events: usize,
    /// At most so many bytes of keys and values held by events.
    pub max_bytes: usize,
    /// Events older than this go, unless they are among the newest `min_events`.
    pub max_age: Duration,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            max_events: 100_000,
            max_bytes: 64 << 20,
            max_age: Duration::from_secs(600),
        }
    }
}

/// How to open an [`Embedded`] store.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The directory, made if it is missing.
    pub dir: PathBuf,
    /// What history is kept.
    pub history: HistoryLimits,
    /// How often an idle watch reports how far it has come.
    pub progress_interval: Duration,
}

impl EmbeddedConfig {
    /// The defaults for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            history: HistoryLimits::default(),
            progress_interval: Duration::from_secs(5),
        }
    }
}

/// The store that lives in this process on one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Embedded {}

impl Embedded {
    /// Opens the store of a directory with the defaults. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Damaged`], [`StoreError::Disk`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(EmbeddedConfig::new(dir.as_ref()))
    }

    /// Opens a store.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn open_with(config: EmbeddedConfig) -> Result<Self> {
        let _ = config;
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, _key: &[u8]) -> Result<Read> {
        Err(StoreError::Closed)
    }
    async fn range(&self, _range: Range) -> Result<Page> {
        Err(StoreError::Closed)
    }
    async fn write(&self, _write: Write) -> Result<Written> {
        Err(StoreError::Closed)
    }
    async fn watch(&self, _prefix: Bytes, _after: Revision) -> Result<Watch> {
        Err(StoreError::Closed)
    }
    async fn compact(&self, _to: Revision) -> Result<()> {
        Err(StoreError::Closed)
    }
    async fn lease_grant(&self, _ttl: Duration) -> Result<Lease> {
        Err(StoreError::Closed)
    }
    async fn lease_keepalive(&self, _id: LeaseId) -> Result<Lease> {
        Err(StoreError::Closed)
    }
    async fn lease_revoke(&self, _id: LeaseId) -> Result<()> {
        Err(StoreError::Closed)
    }
    async fn revision(&self) -> Result<Revision> {
        Err(StoreError::Closed)
    }
    async fn status(&self) -> Result<Status> {
        Err(StoreError::Closed)
    }
}
