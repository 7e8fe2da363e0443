//! A whole store at one revision, as a stream of bytes.
//!
//! Owns: the form of the stream. Does not own: the file it is in, nor what else is in that.
//!
//! ```text
//! frame:  kind 1 | length 4 | payload            integers big endian
//!   S     revision 8 | leases 8 | entries 8      first
//!   L     id 8 | ttl in ms 8
//!   E     created 8 | modified 8 | lease 8 | key length 4 | key | value
//!   Z     frames before this one 8               last: without it the stream was cut
//! ```
//! INVARIANT: entries come in the order of `modified`, and every number that was announced is kept.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use hako_error::{Classify, Kind};

pub use crate::embedded::{REVISION_GAP, restore};
use crate::error::StoreError;
use crate::types::{Entry, Lease, LeaseId, Range, Revision};
use crate::{Result, Store};

/// The largest payload that is believed: a key and a value, with room.
const MAX_PAYLOAD: u32 = 16 << 20;
/// About how much is handed out at once.
const CHUNK: usize = 64 << 10;

/// Why a stream is no snapshot, or could not be made a store.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It ends before its end.
    #[error("the snapshot is cut off: {0}")]
    Cut(&'static str),
    /// It says what makes no sense.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// It cannot be read.
    #[error("the snapshot cannot be read")]
    Read(#[source] std::io::Error),
    /// The store that it should become.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classify for SnapshotError {
    fn kind(&self) -> Kind {
        match self {
            Self::Cut(_) | Self::Damaged(_) => Kind::DataLoss,
            Self::Read(_) => Kind::Unavailable,
            Self::Store(error) => error.kind(),
        }
    }
}

/// All entries at one revision, and the leases they end with.
#[derive(Clone, Debug)]
pub struct Snapshot {
    revision: Revision,
    leases: Vec<Lease>,
    entries: Vec<Arc<Entry>>,
}

/// What a snapshot is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What follows.
    Start {
        /// The revision of all of it.
        revision: Revision,
        /// How many leases.
        leases: u64,
        /// How many entries.
        entries: u64,
    },
    /// A lease.
    Lease(Lease),
    /// An entry.
    Entry(Entry),
}

impl Snapshot {
    /// Everything in a store now, as it is kept there. Entries are shared with it, not copied.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn take(store: &dyn Store) -> Result<Self> {
        let page = store.range(Range::all("")).await?;
        let mut entries = page.entries;
        let last = apart(&mut entries);
        let mut leases: BTreeMap<_, _> =
            store.leases().await?.into_iter().map(|lease| (lease.id, lease)).collect();
        for id in entries.iter().filter_map(|entry| entry.lease) {
            // It ended meanwhile. Without one the entry would live for ever.
            leases.entry(id).or_insert(Lease { id, ttl: Duration::from_secs(1) });
        }
        Ok(Self { revision: page.revision.max(last), leases: leases.into_values().collect(), entries })
    }

    /// Its revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The stream, in pieces of about 64 KiB.
    pub fn into_chunks(self) -> impl Iterator<Item = Bytes> + Send {
        let (leases, entries) = (self.leases.len() as u64, self.entries.len() as u64);
        let start = Part::Start { revision: self.revision, leases, entries };
        let leases_of = self.leases.into_iter().map(Part::Lease);
        let entries_of = self.entries.into_iter().map(|entry| Part::Entry(Entry::clone(&entry)));
        let mut parts = std::iter::once(start).chain(leases_of).chain(entries_of);
        let mut is_done = false;
        std::iter::from_fn(move || {
            let mut chunk = BytesMut::with_capacity(CHUNK + (4 << 10));
            while !is_done && chunk.len() < CHUNK {
                match parts.next() {
                    Some(part) => encode(&mut chunk, &part),
                    None => {
                        is_done = true;
                        frame(&mut chunk, b'Z', 8);
                        chunk.put_u64(1 + leases + entries);
                    }
                }
            }
            (!chunk.is_empty()).then(|| chunk.freeze())
        })
    }
}

/// Orders entries by revisions of their own, the last of which is told. What was written at once may have one in common:
/// then the later ones by key, and what comes behind them, are as if they had been written one after the other. Who knew
/// them by what they had has to read them anew, as with any change.
fn apart(entries: &mut [Arc<Entry>]) -> Revision {
    entries.sort_unstable_by(|one, other| (one.modified, &one.key).cmp(&(other.modified, &other.key)));
    let mut last = Revision::ZERO;
    for entry in entries {
        if entry.modified <= last {
            Arc::make_mut(entry).modified = last.next();
        }
        last = entry.modified;
    }
    last
}

fn frame(out: &mut BytesMut, kind: u8, length: usize) {
    out.put_u8(kind);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

fn encode(out: &mut BytesMut, part: &Part) {
    match part {
        Part::Start { revision, leases, entries } => {
            frame(out, b'S', 24);
            [revision.0, *leases, *entries].into_iter().for_each(|number| out.put_u64(number));
        }
        Part::Lease(lease) => {
            frame(out, b'L', 16);
            out.put_u64(lease.id.0);
            out.put_u64(u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX));
        }
        Part::Entry(entry) => {
            frame(out, b'E', 28 + entry.key.len() + entry.value.len());
            let lease = entry.lease.map_or(0, |lease| lease.0);
            [entry.created.0, entry.modified.0, lease].into_iter().for_each(|number| out.put_u64(number));
            out.put_u32(u32::try_from(entry.key.len()).unwrap_or(u32::MAX));
            out.put_slice(&entry.key);
            out.put_slice(&entry.value);
        }
    }
}

/// Reads a snapshot part by part and checks that all of it is there. Ends after its end, or its first error.
#[derive(Debug)]
pub struct Parts<R> {
    source: R,
    seen: u64,
    leases: u64,
    entries: u64,
    revision: Revision,
    last: Revision,
    is_done: bool,
}

impl<R: Read> Parts<R> {
    /// Begins.
    pub fn new(source: R) -> Self {
        let (revision, last) = (Revision::ZERO, Revision::ZERO);
        Self { source, seen: 0, leases: 0, entries: 0, revision, last, is_done: false }
    }

    /// What follows the snapshot in the source.
    pub fn into_source(self) -> R {
        self.source
    }

    fn read(&mut self) -> Result<Option<Part>, SnapshotError> {
        let head: [u8; 5] = self.exactly()?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        if length > MAX_PAYLOAD {
            return Err(SnapshotError::Damaged("a frame is too long"));
        }
        let mut payload = vec![0; length as usize];
        self.source.read_exact(&mut payload).map_err(cut)?;
        let part = match (head[0], self.seen) {
            (b'S', 0) => self.start(&payload)?,
            (_, 0) => return Err(SnapshotError::Damaged("it has no beginning")),
            (b'L', _) => self.lease(&payload)?,
            (b'E', _) => self.entry(payload)?,
            (b'Z', _) => return self.end(&payload).map(|()| None),
            _ => return Err(SnapshotError::Damaged("a frame of an unknown kind")),
        };
        self.seen += 1;
        Ok(Some(part))
    }

    fn exactly<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(cut)?;
        Ok(bytes)
    }

    fn start(&mut self, payload: &[u8]) -> Result<Part, SnapshotError> {
        let [revision, leases, entries] = numbers(payload)?;
        // What is restored from it goes on behind a gap.
        if revision >= Revision::LAST.0 - REVISION_GAP {
            return Err(SnapshotError::Damaged("no store comes to its revision"));
        }
        (self.revision, self.leases, self.entries) = (Revision(revision), leases, entries);
        Ok(Part::Start { revision: self.revision, leases, entries })
    }

    fn lease(&mut self, payload: &[u8]) -> Result<Part, SnapshotError> {
        let [id, ttl_ms] = numbers(payload)?;
        self.leases = self.leases.checked_sub(1).ok_or(SnapshotError::Damaged("a lease too many"))?;
        Ok(Part::Lease(Lease { id: LeaseId(id), ttl: Duration::from_millis(ttl_ms) }))
    }

    fn entry(&mut self, payload: Vec<u8>) -> Result<Part, SnapshotError> {
        let short = SnapshotError::Damaged("an entry is too short");
        let Some((head, rest)) = payload.split_at_checked(28) else { return Err(short) };
        let [created, modified, lease] = numbers(&head[..24])?;
        let key_length = u32::from_be_bytes([head[24], head[25], head[26], head[27]]) as usize;
        if key_length > rest.len() {
            return Err(short);
        }
        self.entries = self.entries.checked_sub(1).ok_or(SnapshotError::Damaged("an entry too many"))?;
        if Revision(modified) <= self.last {
            return Err(SnapshotError::Damaged("entries are not in order"));
        }
        if Revision(modified) > self.revision {
            return Err(SnapshotError::Damaged("an entry is newer than all of it"));
        }
        self.last = Revision(modified);
        let body = Bytes::from(payload).split_off(28);
        Ok(Part::Entry(Entry {
            key: body.slice(..key_length),
            value: body.slice(key_length..),
            created: Revision(created),
            modified: Revision(modified),
            lease: (lease != 0).then_some(LeaseId(lease)),
        }))
    }

    fn end(&mut self, payload: &[u8]) -> Result<(), SnapshotError> {
        let [seen] = numbers(payload)?;
        if seen != self.seen || self.leases != 0 || self.entries != 0 {
            return Err(SnapshotError::Cut("not all is there that it announces"));
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Parts<R> {
    type Item = Result<Part, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let part = self.read().transpose();
        self.is_done = !matches!(part, Some(Ok(_)));
        part
    }
}

fn cut(error: std::io::Error) -> SnapshotError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => SnapshotError::Cut("it ends within a frame"),
        _ => SnapshotError::Read(error),
    }
}

fn numbers<const N: usize>(payload: &[u8]) -> Result<[u64; N], SnapshotError> {
    let (chunks, rest) = payload.as_chunks::<8>();
    let numbers: [[u8; 8]; N] =
        chunks.try_into().map_err(|_| SnapshotError::Damaged("a frame has the wrong length"))?;
    match rest {
        [] => Ok(numbers.map(u64::from_be_bytes)),
        _ => Err(SnapshotError::Damaged("a frame has the wrong length")),
    }
}
