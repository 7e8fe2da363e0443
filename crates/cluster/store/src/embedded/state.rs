//! What readers see: the entries and their recent history.
//!
//! INVARIANT: history is gapless. It holds exactly the events of the revisions `compacted + 1 ..= revision`, one
//! each, so an event is found by its revision alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::HistoryLimits;
use super::runs::{Part, Runs};
use crate::error::{Result, StoreError};
use crate::types::{Entry, Event, EventKind, HistorySize, LeaseId, Page, Range, Revision, Sections};

/// What an event costs in memory beside the entry it replaced.
const EVENT_BYTES: usize = 256;

/// An event and when it happened.
#[derive(Clone, Debug)]
pub struct Past {
    pub event: Arc<Event>,
    pub at_ms: u64,
}

impl Past {
    /// The bytes that live only because history holds this event.
    fn cost(&self) -> usize {
        EVENT_BYTES + self.event.previous.as_deref().map_or(0, size)
    }

    /// The records that nobody needs once this event is compacted.
    pub fn obsolete_records(&self) -> impl Iterator<Item = u64> {
        let tombstone = (self.event.kind == EventKind::Delete).then(|| self.event.revision().0);
        self.event.previous.iter().map(|previous| previous.modified.0).chain(tombstone)
    }
}

fn size(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len()
}

/// Entries, history and who is attached to which lease.
#[derive(Debug, Default)]
pub struct State {
    entries: Runs,
    history: VecDeque<Past>,
    history_bytes: usize,
    leased: HashMap<LeaseId, BTreeSet<Bytes>>,
    pub bytes: u64,
    pub revision: Revision,
    pub compacted: Revision,
}

impl State {
    /// The entry of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        self.entries.get(key)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How much is there for history alone.
    pub fn history_size(&self) -> HistorySize {
        HistorySize { events: self.history.len() as u64, bytes: self.history_bytes as u64 }
    }

    /// The keys attached to a lease.
    pub fn leased(&self, lease: LeaseId) -> impl Iterator<Item = &Bytes> {
        self.leased.get(&lease).into_iter().flatten()
    }

    /// Puts an entry whose history is gone. For loading only.
    pub fn restore(&mut self, entry: Arc<Entry>) {
        self.revision = self.revision.max(entry.modified);
        self.replace(&entry);
    }

    /// Makes the next revision's event part of what readers see.
    pub fn apply(&mut self, past: Past) {
        debug_assert_eq!(past.event.revision(), self.revision.next(), "history is gapless");
        let event = &past.event;
        self.revision = event.revision();
        match event.kind {
            EventKind::Put => self.replace(&event.entry),
            EventKind::Delete => self.remove(&event.entry.key),
        }
        self.history_bytes += past.cost();
        self.history.push_back(past);
    }

    fn replace(&mut self, entry: &Arc<Entry>) {
        let previous = self.entries.put(Arc::clone(entry));
        self.detach(previous);
        self.bytes += size(entry) as u64;
        if let Some(lease) = entry.lease {
            self.leased.entry(lease).or_default().insert(entry.key.clone());
        }
    }

    fn remove(&mut self, key: &[u8]) {
        let previous = self.entries.remove(key);
        self.detach(previous);
    }

    fn detach(&mut self, entry: Option<Arc<Entry>>) {
        let Some(entry) = entry else { return };
        self.bytes -= size(&entry) as u64;
        let Some(lease) = entry.lease else { return };
        if let Some(keys) = self.leased.get_mut(&lease) {
            keys.remove(&entry.key);
            if keys.is_empty() {
                self.leased.remove(&lease);
            }
        }
    }

    /// Up to where history may be forgotten now so that `incoming` events fit, in steps of at most `step` events.
    pub fn trim_target(&self, limits: &HistoryLimits, incoming: usize, now_ms: u64, step: usize) -> Revision {
        let oldest_ms = now_ms.saturating_sub(u64::try_from(limits.max_age.as_millis()).unwrap_or(u64::MAX));
        let (mut count, mut bytes) = (self.history.len() + incoming, self.history_bytes);
        let mut target = self.compacted;
        for past in self.history.iter().take(step) {
            if count <= limits.max_events && bytes <= limits.max_bytes && past.at_ms >= oldest_ms {
                break;
            }
            count -= 1;
            bytes -= past.cost();
            target = past.event.revision();
        }
        target
    }

    /// The events up to and including `to` that are still there.
    pub fn until(&self, to: Revision) -> impl Iterator<Item = &Past> {
        self.history.iter().take_while(move |past| past.event.revision() <= to)
    }

    /// Forgets history up to and including `to`.
    pub fn compact(&mut self, to: Revision) {
        while let Some(past) = self.history.pop_front_if(|past| past.event.revision() <= to) {
            self.history_bytes -= past.cost();
        }
        self.compacted = self.compacted.max(to);
        if self.history.capacity() > 4096 && self.history.len() < self.history.capacity() / 4 {
            self.history.shrink_to(self.history.len() * 2);
        }
    }

    /// The events after a revision that is not compacted.
    pub fn after(&self, revision: Revision) -> impl Iterator<Item = &Arc<Event>> {
        let skip = usize::try_from(revision.0.saturating_sub(self.compacted.0)).unwrap_or(usize::MAX);
        self.history.range(skip.min(self.history.len())..).map(|past| &past.event)
    }

    /// Whether history after `revision` is complete.
    pub fn check_history(&self, revision: Revision) -> Result<()> {
        if revision < self.compacted {
            return Err(StoreError::Compacted { requested: revision, compacted: self.compacted });
        }
        if revision > self.revision {
            return Err(StoreError::FutureRevision { requested: revision, current: self.revision });
        }
        Ok(())
    }

    /// One page of a prefix, now or at an older revision.
    pub fn range(&self, range: &Range) -> Result<Page> {
        let at = range.at.unwrap_or(self.revision);
        self.check_history(at)?;
        let current = self.below(range);
        if at == self.revision {
            return Ok(page(current, range.limit, at));
        }
        let past = self.undone(range, at);
        let unchanged = current.filter(|entry| !past.contains_key(&entry.key[..]));
        Ok(page(merge(unchanged, past.values().copied().flatten()), range.limit, at))
    }

    /// All of a prefix now, in the pieces in which it is kept.
    pub fn sections(&self, prefix: &[u8]) -> Sections {
        let sections = self.entries.below(prefix, None).map(Part::section).collect();
        Sections { sections, revision: self.revision }
    }

    fn below<'a>(&'a self, range: &'a Range) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.entries.below(&range.prefix, range.start_after.as_deref()).flat_map(Part::entries)
    }

    /// What the keys that changed since `at` were at `at`.
    fn undone<'a>(&'a self, range: &Range, at: Revision) -> BTreeMap<&'a [u8], Option<&'a Arc<Entry>>> {
        let mut undone = BTreeMap::new();
        for event in self.after(at) {
            let key = &event.entry.key[..];
            let wanted = key.starts_with(&range.prefix)
                && range.start_after.as_deref().is_none_or(|start| key > start);
            if wanted {
                undone.entry(key).or_insert(event.previous.as_ref());
            }
        }
        undone
    }
}

fn page<'a>(mut entries: impl Iterator<Item = &'a Arc<Entry>>, limit: usize, revision: Revision) -> Page {
    let take = if limit == 0 { usize::MAX } else { limit };
    let taken: Vec<_> = entries.by_ref().take(take).cloned().collect();
    let remaining = entries.count() as u64;
    Page { entries: taken, more: remaining > 0, remaining, revision }
}

/// Two streams of different keys, both in order, as one.
fn merge<'a>(
    left: impl Iterator<Item = &'a Arc<Entry>>,
    right: impl Iterator<Item = &'a Arc<Entry>>,
) -> impl Iterator<Item = &'a Arc<Entry>> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(a), Some(b)) if a.key < b.key => left.next(),
        (_, Some(_)) => right.next(),
        (_, None) => left.next(),
    })
}
