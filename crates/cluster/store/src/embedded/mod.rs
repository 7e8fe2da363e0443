//! The store that lives in this process on one directory.
//!
//! Owns: all entries in memory ([`state`]), the watches on their history ([`watchers`]), the writer thread
//! ([`writer`]) and the leases' clocks ([`leases`]).
//! Does not own: the database format (see [`log`]).
//!
//! Invariant: memory only ever shows what a durable commit has accepted.

mod database;
mod file;
mod leases;
mod load;
pub mod log;
mod record;
mod restore;
mod runs;
mod state;
mod turn;
mod watchers;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use self::leases::Leases;
use self::log::{LogError, Opener};
pub use self::restore::{REVISION_GAP, restore};
pub use self::runs::Run;
use self::state::State;
use self::watchers::Watchers;
use self::writer::{Command, Reply, Writer};
use crate::Store;
use crate::error::{Result, StoreError};
use crate::types::{Lease, LeaseId, Op, Page, Range, Read, Revision, Sections, Status, Write, Written};
use crate::watch::Watch;

/// The longest key.
const MAX_KEY_BYTES: usize = 4 << 10;
/// The longest value: above the API's own limit, so that the API's clearer refusal comes first.
const MAX_VALUE_BYTES: usize = 8 << 20;
/// Writes waiting for the writer thread; more wait before the queue.
const QUEUE: usize = 4096;

/// How much history is kept for watches to resume and for reads at older revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// At most so many events.
    pub max_events: usize,
    /// At most so many bytes that live only because of history.
    pub max_bytes: usize,
    /// No events older than this, as of the latest write.
    pub max_age: Duration,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { max_events: 100_000, max_bytes: 64 << 20, max_age: Duration::from_secs(600) }
    }
}

/// How to open an [`Embedded`] store.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The directory, made if it is missing.
    pub dir: PathBuf,
    /// What history is kept.
    pub history: HistoryLimits,
    /// How often a quiet watch reports how far it has come.
    pub progress_interval: Duration,
    /// A file below this is never written anew to free space, in bytes.
    pub rebuild_from: u64,
}

impl EmbeddedConfig {
    /// The defaults for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            history: HistoryLimits::default(),
            progress_interval: Duration::from_secs(5),
            rebuild_from: 64 << 20,
        }
    }
}

/// What readers, watchers and the writer share.
#[derive(Debug)]
struct Shared {
    config: EmbeddedConfig,
    state: RwLock<State>,
    watchers: Watchers,
    leases: Leases,
    refusing: Mutex<Option<StoreError>>,
    disk_bytes: AtomicU64,
    closed: AtomicBool,
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn disk_error(&self, error: LogError) -> StoreError {
        let path = self.config.dir.clone();
        match error {
            LogError::Full => StoreError::DiskFull { path },
            LogError::InUse => StoreError::InUse { path },
            LogError::Damaged(reason) => StoreError::Damaged { path, reason: reason.into() },
            LogError::Failed(reason) => StoreError::Disk { path, reason: reason.into() },
        }
    }
}

/// The store that lives in this process on one directory. Cheap to clone; the last clone to go waits for the
/// commit in flight and closes the database.
#[derive(Clone, Debug)]
pub struct Embedded(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    queue: Option<mpsc::Sender<Command>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Embedded {
    /// Opens the store of a directory with the defaults. Blocks on the disk; call it within a Tokio runtime,
    /// which then runs the clocks of leases.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Damaged`], [`StoreError::DiskFull`], [`StoreError::Disk`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(EmbeddedConfig::new(dir.as_ref()))
    }

    /// Opens a store.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn open_with(config: EmbeddedConfig) -> Result<Self> {
        Self::open_on(config, Box::new(database::open))
    }

    /// Opens a store on another database. For benchmarks and faults; the product has one database.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn open_on(config: EmbeddedConfig, opener: Opener) -> Result<Self> {
        let shared = Arc::new(Shared {
            config,
            state: RwLock::default(),
            watchers: Watchers::default(),
            leases: Leases::default(),
            refusing: Mutex::default(),
            disk_bytes: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let writer = Writer::open(Arc::clone(&shared), opener).map_err(|error| shared.disk_error(error))?;
        let (queue, commands) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("hako-store".into())
            .spawn(move || writer.run(commands))
            .map_err(|error| shared.disk_error(error.into()))?;
        leases::tend(&shared, queue.downgrade());
        Ok(Self(Arc::new(Inner { shared, queue: Some(queue), writer: Some(thread) })))
    }

    /// Finishes what is queued and closes the database; then every clone refuses writes and every watch ends.
    pub async fn close(&self) {
        let _ = self.ask(Command::Close).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let queue = self.0.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(command(reply)).await.map_err(|_closed| StoreError::Closed)?;
        answer.await.map_err(|_closed| StoreError::Closed)?
    }
}

fn check_size(what: &'static str, size: usize, limit: usize) -> Result<()> {
    if size > limit {
        return Err(StoreError::TooLarge { what, size, limit });
    }
    Ok(())
}

#[async_trait]
impl Store for Embedded {
    async fn get(&self, key: &[u8]) -> Result<Read> {
        let state = self.0.shared.state.read();
        Ok(Read { entry: state.get(key).cloned(), revision: state.revision })
    }

    async fn range(&self, range: Range) -> Result<Page> {
        self.0.shared.state.read().range(&range)
    }

    async fn sections(&self, prefix: &[u8]) -> Result<Option<Sections>> {
        Ok(Some(self.0.shared.state.read().sections(prefix)))
    }

    async fn write(&self, write: Write) -> Result<Written> {
        let along = write.along.iter().map(|change| (&change.key, &change.op));
        for (key, op) in along.chain([(&write.key, &write.op)]) {
            check_size("key", key.len(), MAX_KEY_BYTES)?;
            if let Op::Put { value, .. } = op {
                check_size("value", value.len(), MAX_VALUE_BYTES)?;
            }
        }
        self.ask(|reply| Command::Write(write, reply)).await
    }

    async fn watch(&self, prefix: Bytes, after: Revision) -> Result<Watch> {
        watchers::watch(&self.0.shared, prefix, after)
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        self.ask(|reply| Command::Compact(to, reply)).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease> {
        self.ask(|reply| Command::Grant(ttl, reply)).await
    }

    async fn lease_keepalive(&self, id: LeaseId) -> Result<Lease> {
        self.0.shared.leases.keep_alive(id)
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<()> {
        self.ask(|reply| Command::Revoke(id, reply)).await
    }

    async fn leases(&self) -> Result<Vec<Lease>> {
        Ok(self.0.shared.leases.all())
    }

    async fn scrub(&self) -> Result<()> {
        self.ask(Command::Rebuild).await
    }

    async fn revision(&self) -> Result<Revision> {
        Ok(self.0.shared.state.read().revision)
    }

    async fn status(&self) -> Result<Status> {
        let refusing = self.0.shared.refusing.lock().as_ref().map(ToString::to_string);
        let state = self.0.shared.state.read();
        Ok(Status {
            revision: state.revision,
            compacted: state.compacted,
            entries: state.len() as u64,
            bytes: state.bytes,
            disk_bytes: self.0.shared.disk_bytes.load(Ordering::Relaxed),
            history: Some(state.history_size()),
            refusing,
        })
    }
}
