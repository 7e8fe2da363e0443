//! A store whose values below some prefixes are sealed, over any other store.
//!
//! Owns: sealing on the way in, opening on the way out, the [`keyring`], and the change of keys ([`settle`]).
//! Does not own: which keys hold secrets (its prefixes are given), where the records go.
//!
//! INVARIANT: below a sealed prefix nothing readable is ever handed to the store beneath; and while a write is under
//! way the key that sealed it stays: a change of keys waits for it, also when nobody waits for the write any more.

mod envelope;
mod keyring;
mod settle;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::{Mutex, RwLock};

use self::keyring::Keyring;
pub use self::settle::Settled;
use crate::Store;
use crate::error::{Result, StoreError};
use crate::types::{
    Entry, Event, EventKind, Lease, LeaseId, Op, Page, Range, Read, Revision, Sections, Status, Write,
    Written,
};
use crate::watch::{Batch, Watch};

/// A store that seals. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sealed(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    prefixes: Vec<Bytes>,
    path: PathBuf,
    /// Held for reading while a write is under way, for writing while the keys change.
    keys: Arc<RwLock<Keyring>>,
    /// One change at a time.
    settling: Mutex<()>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed")
            .field("path", &self.path)
            .field("prefixes", &self.prefixes)
            .finish_non_exhaustive()
    }
}

impl Sealed {
    /// A store that seals below these prefixes, with the keys of a file; the file is made where there is none and
    /// nothing is sealed yet. Keys that cannot be had are told by every read and write below the prefixes, and by the
    /// log now.
    ///
    /// # Errors
    /// Those of the store beneath, and a file that cannot be made.
    pub async fn open(store: Arc<dyn Store>, path: PathBuf, prefixes: Vec<Bytes>) -> Result<Self> {
        let keys = match Keyring::read(&path) {
            Some(keys) => keys,
            None => match found(&*store, &prefixes).await? {
                Found { has_sealed: true, .. } => Keyring::lost(&path),
                Found { has_unsealed, .. } => Keyring::make(&path, has_unsealed)?,
            },
        };
        if let Err(error) = keys.check() {
            tracing::error!(%error, "what is sealed cannot be read or written");
        }
        let keys = Arc::new(RwLock::new(keys));
        Ok(Self(Arc::new(Inner { store, prefixes, path, keys, settling: Mutex::default() })))
    }

    /// The store beneath: what it tells is sealed.
    #[must_use]
    pub fn beneath(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// The ids of the keys, the one that seals first.
    ///
    /// # Errors
    /// [`StoreError::KeysUnavailable`].
    pub async fn key_ids(&self) -> Result<Vec<String>> {
        self.0.keys.read().await.ids()
    }

    fn covers(&self, key: &[u8]) -> bool {
        self.0.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    /// Whether anything below a prefix may be sealed.
    fn touches(&self, prefix: &[u8]) -> bool {
        self.0.prefixes.iter().any(|sealed| prefix.starts_with(sealed) || sealed.starts_with(prefix))
    }

    async fn open_entry(&self, entry: Arc<Entry>) -> Result<Arc<Entry>> {
        if !self.covers(&entry.key) {
            return Ok(entry);
        }
        opened(&*self.0.keys.read().await, &entry)
    }

    async fn open_found(&self, entry: Option<Arc<Entry>>) -> Result<Option<Arc<Entry>>> {
        match entry {
            Some(entry) => self.open_entry(entry).await.map(Some),
            None => Ok(None),
        }
    }

    /// A refusal shows the key as it is.
    async fn open_refusal(&self, error: StoreError) -> StoreError {
        let opened = match error {
            StoreError::AlreadyExists { current } => {
                self.open_entry(current).await.map(|current| StoreError::AlreadyExists { current })
            }
            StoreError::Conflict { expected, current } => {
                self.open_entry(current).await.map(|current| StoreError::Conflict { expected, current })
            }
            other => Ok(other),
        };
        opened.unwrap_or_else(|error| error)
    }

    /// Seals and writes, to the end: see the invariant above.
    async fn write_sealed(&self, write: Write) -> Result<Written> {
        let keys = Arc::clone(&self.0.keys).read_owned().await;
        let mut write = write;
        let along = write.along.iter_mut().map(|change| (&change.key, &mut change.op));
        for (key, op) in along.chain([(&write.key, &mut write.op)]) {
            if let (true, Op::Put { value, .. }) = (self.covers(key), op) {
                *value = keys.seal(key, value)?;
            }
        }
        let store = Arc::clone(&self.0.store);
        let writing = tokio::spawn(async move {
            let written = store.write(write).await;
            drop(keys);
            written
        });
        writing.await.map_err(|_stopped| StoreError::Closed)?
    }
}

/// What lies below the prefixes.
#[derive(Default)]
struct Found {
    has_sealed: bool,
    has_unsealed: bool,
}

async fn found(store: &dyn Store, prefixes: &[Bytes]) -> Result<Found> {
    let mut found = Found::default();
    for prefix in prefixes {
        for entry in store.range(Range::all(prefix.clone())).await?.entries {
            match envelope::key_id(&entry.value) {
                Some(_) => found.has_sealed = true,
                None => found.has_unsealed = true,
            }
        }
    }
    Ok(found)
}

/// An entry as its writer wrote it. One from before there was sealing is so already.
fn opened(keys: &Keyring, entry: &Arc<Entry>) -> Result<Arc<Entry>> {
    if envelope::key_id(&entry.value).is_none() {
        return Ok(Arc::clone(entry));
    }
    let value = keys.open(&entry.key, &entry.value)?;
    Ok(Arc::new(Entry { value, ..Entry::clone(entry) }))
}

fn opened_event(keys: &Keyring, event: &Event) -> Result<Arc<Event>> {
    let entry = match event.kind {
        EventKind::Put => opened(keys, &event.entry)?,
        EventKind::Delete => Arc::clone(&event.entry),
    };
    let previous = event.previous.as_ref().map(|previous| opened(keys, previous)).transpose()?;
    Ok(Arc::new(Event { kind: event.kind, entry, previous }))
}

#[async_trait]
impl Store for Sealed {
    async fn get(&self, key: &[u8]) -> Result<Read> {
        let read = self.0.store.get(key).await?;
        Ok(Read { entry: self.open_found(read.entry).await?, revision: read.revision })
    }

    async fn range(&self, range: Range) -> Result<Page> {
        let is_plain = !self.touches(&range.prefix);
        let mut page = self.0.store.range(range).await?;
        if is_plain {
            return Ok(page);
        }
        let keys = self.0.keys.read().await;
        for entry in page.entries.iter_mut().filter(|entry| self.covers(&entry.key)) {
            *entry = opened(&keys, entry)?;
        }
        Ok(page)
    }

    async fn sections(&self, prefix: &[u8]) -> Result<Option<Sections>> {
        if self.touches(prefix) { Ok(None) } else { self.0.store.sections(prefix).await }
    }

    async fn write(&self, write: Write) -> Result<Written> {
        if !self.covers(&write.key) && !write.along.iter().any(|change| self.covers(&change.key)) {
            return self.0.store.write(write).await;
        }
        match self.write_sealed(write).await {
            // The write happened: what it replaced is not worth an error.
            Ok(Written { revision, previous }) => {
                Ok(Written { revision, previous: self.open_found(previous).await.unwrap_or_default() })
            }
            Err(error) => Err(self.open_refusal(error).await),
        }
    }

    fn has_shared_revisions(&self) -> bool {
        self.0.store.has_shared_revisions()
    }

    async fn watch(&self, prefix: Bytes, after: Revision) -> Result<Watch> {
        let is_plain = !self.touches(&prefix);
        let watch = self.0.store.watch(prefix, after).await?;
        if is_plain {
            return Ok(watch);
        }
        // What does not open ends a watch like any other error.
        let sealed = self.clone();
        Ok(watch.map(|batches| {
            stream::unfold(Some((batches, sealed)), |open| async move {
                let (mut batches, sealed) = open?;
                let batch = match batches.next().await? {
                    Ok(batch) => sealed.open_batch(batch).await,
                    Err(error) => Err(error),
                };
                let open = batch.is_ok().then_some((batches, sealed));
                Some((batch, open))
            })
        }))
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        self.0.store.compact(to).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease> {
        self.0.store.lease_grant(ttl).await
    }

    async fn lease_keepalive(&self, id: LeaseId) -> Result<Lease> {
        self.0.store.lease_keepalive(id).await
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<()> {
        self.0.store.lease_revoke(id).await
    }

    async fn leases(&self) -> Result<Vec<Lease>> {
        self.0.store.leases().await
    }

    async fn scrub(&self) -> Result<()> {
        self.0.store.scrub().await
    }

    async fn revision(&self) -> Result<Revision> {
        self.0.store.revision().await
    }

    async fn status(&self) -> Result<Status> {
        self.0.store.status().await
    }
}

impl Sealed {
    async fn open_batch(&self, mut batch: Batch) -> Result<Batch> {
        let keys = self.0.keys.read().await;
        for event in batch.events.iter_mut().filter(|event| self.covers(&event.entry.key)) {
            *event = opened_event(&keys, event)?;
        }
        Ok(batch)
    }
}
