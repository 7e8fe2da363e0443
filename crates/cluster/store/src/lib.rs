//! Keys at revisions: the one source of truth of a cluster.
//!
//! Owns: the [`Store`] trait (consistent reads, compare-and-swap, watch from a revision, leases, compaction),
//! its types and errors, [`Embedded`], the implementation that lives in this process on one directory, and, by the
//! feature `etcd`, `Etcd`, the one on a cluster that others run.
//! Does not own: what keys and values mean; to the store both are bytes.
//!
//! Invariant: a write that was acknowledged is on the disk, has its own place in the one order of revisions, and
//! every watcher sees it there exactly once.
//!
//! ```text
//!           write ──► queue ──► writer thread: check in order ─► one durable commit ─► publish ─► acknowledge
//!                                                                                        │
//!   get, range ◄── entries in memory, older revisions by undoing history ◄───────────────┤
//!   watch      ◄── a cursor on the shared history; no buffer of its own  ◄───────────────┘
//! ```

mod embedded;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod sealed;
pub mod snapshot;
#[cfg(feature = "testsuite")]
pub mod testsuite;
mod types;
mod watch;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use crate::embedded::{Embedded, EmbeddedConfig, HistoryLimits, log};
pub use crate::error::{Result, StoreError};
#[cfg(feature = "etcd")]
pub use crate::etcd::{Etcd, EtcdConfig};
pub use crate::sealed::{Sealed, Settled};
pub use crate::types::{
    Along, Entry, Event, EventKind, Expect, Guard, HistorySize, Lease, LeaseId, Op, Page, Range, Read,
    Revision, Section, SectionId, Sections, Status, Write, Written,
};
pub use crate::watch::{Batch, Watch};

/// Keys at revisions. Every implementation passes the same suite (`testsuite`, behind the feature of that name).
///
/// - Revisions are global and grow with every write. A write gets one; what happens along with it has that one or
///   an earlier one, which no other write has.
/// - Reads are consistent: a read that starts after a write was acknowledged sees it.
/// - A failed condition ([`Expect`]) changes nothing and uses up no revision.
/// - Dropping a future does not take a write back: it may still happen.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The entry of one key now, and the revision it was read at.
    async fn get(&self, key: &[u8]) -> Result<Read>;

    /// The entries below a prefix in the order of their keys, now or as they were at an older revision.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if the older revision is gone, [`StoreError::FutureRevision`] if it is still to come.
    async fn range(&self, range: Range) -> Result<Page>;

    /// All entries below a prefix now, in pieces of which a later reader can tell whether they are as they were; none
    /// where entries are not kept so, then [`Store::range`] has them.
    ///
    /// # Errors
    /// Those of a read.
    async fn sections(&self, _prefix: &[u8]) -> Result<Option<Sections>> {
        Ok(None)
    }

    /// Puts or deletes one key if it is as expected, and what is to happen [along with it](Along); returns once that is
    /// durable.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`], [`StoreError::Conflict`] and [`StoreError::NotFound`] if it is not as expected,
    /// the first two with the entry as it is; [`StoreError::LeaseNotFound`]; [`StoreError::DiskFull`] and
    /// [`StoreError::Disk`] if the disk refuses, after which reads go on and writes recover with the disk.
    async fn write(&self, write: Write) -> Result<Written>;

    /// All events below a prefix after a revision, in order and complete, as long as the watch is polled.
    ///
    /// A watcher never slows writers down; one that falls behind compaction ends with [`StoreError::Compacted`].
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if events after that revision are gone, [`StoreError::FutureRevision`].
    async fn watch(&self, prefix: Bytes, after: Revision) -> Result<Watch>;

    /// Whether what is written in one step has one revision, be it several keys, so that who goes on after a revision may
    /// have been told a part of it only.
    fn has_shared_revisions(&self) -> bool {
        false
    }

    /// Forgets the history up to and including a revision; the entries themselves stay. Going back is no error.
    ///
    /// # Errors
    /// [`StoreError::FutureRevision`], and those of the disk.
    async fn compact(&self, to: Revision) -> Result<()>;

    /// A lease that deletes the keys attached to it unless it is kept alive within `ttl`.
    async fn lease_grant(&self, ttl: Duration) -> Result<Lease>;

    /// Starts the lease's time anew.
    ///
    /// # Errors
    /// [`StoreError::LeaseNotFound`] if it has expired or was revoked.
    async fn lease_keepalive(&self, id: LeaseId) -> Result<Lease>;

    /// Ends a lease and deletes its keys.
    ///
    /// # Errors
    /// [`StoreError::LeaseNotFound`] if it has expired or was revoked.
    async fn lease_revoke(&self, id: LeaseId) -> Result<()>;

    /// The leases that live, with the time each was granted.
    async fn leases(&self) -> Result<Vec<Lease>>;

    /// Sees to it that what was overwritten or deleted and then compacted is not left in files of ours: a database
    /// keeps freed space as it is. Nothing to do where the files are others'.
    ///
    /// # Errors
    /// Those of the disk.
    async fn scrub(&self) -> Result<()> {
        Ok(())
    }

    /// The newest revision.
    async fn revision(&self) -> Result<Revision>;

    /// How the store is.
    async fn status(&self) -> Result<Status>;
}
