//! Watches as cursors on the shared history.
//!
//! Owns: who waits for which prefix. A watcher has no buffer: the writer marks the first event it has not seen
//! and wakes it, the watcher reads from history at its own pace.
//!
//! INVARIANT: between a watcher's cursor and `first_pending` there is no event below its prefix. A watcher whose
//! prefix is quiet therefore never falls behind compaction, one with something pending does and is told so.
//! `first_pending` changes only under the state's lock: the writer's to mark, a reader's for its own watcher.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Shared;
use super::state::Past;
use crate::error::{Result, StoreError};
use crate::types::Revision;
use crate::watch::{Batch, Question, Watch};

/// Events handed out at once.
const BATCH_EVENTS: usize = 1024;

#[derive(Debug, Default)]
struct Watcher {
    notify: Notify,
    /// Zero for none.
    first_pending: AtomicU64,
}

/// Who waits for which prefix.
#[derive(Debug, Default)]
pub struct Watchers(Mutex<Prefixes>);

/// An event's watchers are found by the beginnings of its key, as many as there are lengths of prefixes, however
/// many prefixes there are: ten thousand may wait for one object each.
#[derive(Debug, Default)]
struct Prefixes {
    by_prefix: HashMap<Bytes, Prefix>,
    /// How many prefixes there are of a length.
    lengths: BTreeMap<usize, usize>,
    round: u64,
}

#[derive(Debug, Default)]
struct Prefix {
    watchers: Vec<Weak<Watcher>>,
    /// The last round in which they were woken.
    round: u64,
}

impl Prefixes {
    /// The watchers of a key who were not found in this round.
    fn each_new(&mut self, key: &[u8], mut found: impl FnMut(&Weak<Watcher>)) {
        for length in self.lengths.range(..=key.len()).map(|(length, _)| *length) {
            let Some(prefix) = self.by_prefix.get_mut(&key[..length]) else { continue };
            if prefix.round != self.round {
                prefix.round = self.round;
                prefix.watchers.iter().for_each(&mut found);
            }
        }
    }
}

impl Watchers {
    fn register(&self, prefix: Bytes) -> Arc<Watcher> {
        let watcher = Arc::new(Watcher::default());
        let mut prefixes = self.0.lock();
        let Prefixes { by_prefix, lengths, .. } = &mut *prefixes;
        let entry = by_prefix.entry(prefix.clone()).or_insert_with(|| {
            *lengths.entry(prefix.len()).or_default() += 1;
            Prefix::default()
        });
        entry.watchers.push(Arc::downgrade(&watcher));
        watcher
    }

    fn forget(&self, prefix: &Bytes, watcher: &Arc<Watcher>) {
        let mut prefixes = self.0.lock();
        let Prefixes { by_prefix, lengths, .. } = &mut *prefixes;
        let Some(entry) = by_prefix.get_mut(prefix) else { return };
        if let Some(at) = entry.watchers.iter().position(|it| std::ptr::eq(it.as_ptr(), Arc::as_ptr(watcher)))
        {
            entry.watchers.swap_remove(at);
        }
        if entry.watchers.is_empty() {
            by_prefix.remove(prefix);
            if let Some(count) = lengths.get_mut(&prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    lengths.remove(&prefix.len());
                }
            }
        }
    }

    /// Tells the watchers of events that are being applied that there is something for them. Call it with the state
    /// locked for writing, and wake whom it answers without.
    pub fn publish(&self, events: &[Past]) -> Woken {
        let mut prefixes = self.0.lock();
        prefixes.round += 1;
        let mut woken = Vec::new();
        for past in events {
            let first = past.event.revision().0;
            prefixes.each_new(&past.event.entry.key, |watcher| {
                let Some(watcher) = watcher.upgrade() else { return };
                let _ = watcher.first_pending.compare_exchange(0, first, Ordering::AcqRel, Ordering::Acquire);
                woken.push(watcher);
            });
        }
        Woken(woken)
    }

    /// Wakes everybody: the store is closed.
    pub fn close(&self) {
        let prefixes = self.0.lock();
        let watchers = prefixes.by_prefix.values().flat_map(|prefix| &prefix.watchers);
        for watcher in watchers.filter_map(Weak::upgrade) {
            watcher.notify.notify_one();
        }
    }
}

/// Watchers that have something to read.
pub struct Woken(Vec<Arc<Watcher>>);

impl Woken {
    /// Has them read it.
    pub fn wake(self) {
        self.0.iter().for_each(|watcher| watcher.notify.notify_one());
    }
}

struct Cursor {
    shared: Arc<Shared>,
    watcher: Arc<Watcher>,
    prefix: Bytes,
    seen: Revision,
    reported: Revision,
    ended: bool,
    progress_interval: Duration,
    question: Arc<Question>,
}

/// Starts a watch.
pub fn watch(shared: &Arc<Shared>, prefix: Bytes, after: Revision) -> Result<Watch> {
    let question = Arc::<Question>::default();
    let cursor = Cursor {
        question: Arc::clone(&question),
        progress_interval: shared.config.progress_interval,
        shared: Arc::clone(shared),
        watcher: shared.watchers.register(prefix.clone()),
        prefix,
        seen: after,
        reported: after,
        ended: false,
    };
    {
        let state = shared.state.read();
        state.check_history(after)?;
        if after < state.revision {
            cursor.watcher.first_pending.store(after.next().0, Ordering::Release);
        }
    }
    let batches = stream::unfold(cursor, |mut cursor| async move {
        let item = cursor.next().await?;
        Some((item, cursor))
    });
    Ok(Watch::new(batches, question))
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.shared.watchers.forget(&self.prefix, &self.watcher);
    }
}

impl Cursor {
    async fn next(&mut self) -> Option<Result<Batch>> {
        while !self.ended {
            match self.pull() {
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                Ok(Some(batch)) => return Some(Ok(batch)),
                Ok(None) => {}
            }
            if self.shared.is_closed() {
                return None;
            }
            if self.question.take() {
                return Some(Ok(self.report(Vec::new())));
            }
            tokio::select! {
                () = self.watcher.notify.notified() => {}
                () = self.question.asked() => {}
                () = tokio::time::sleep(self.progress_interval) => {
                    if let Some(batch) = self.progress() {
                        return Some(Ok(batch));
                    }
                }
            }
        }
        None
    }

    /// What has happened since, if anything did.
    fn pull(&mut self) -> Result<Option<Batch>> {
        let state = self.shared.state.read();
        let first = self.watcher.first_pending.load(Ordering::Acquire);
        if self.seen < state.compacted {
            if first != 0 && first <= state.compacted.0 {
                return Err(StoreError::Compacted { requested: self.seen, compacted: state.compacted });
            }
            self.seen = state.compacted;
        }
        if first == 0 {
            self.seen = state.revision;
            return Ok(None);
        }
        self.seen = self.seen.max(Revision(first - 1));
        let mut events = Vec::new();
        let mut seen = state.revision;
        for event in state.after(self.seen) {
            if event.entry.key.starts_with(&self.prefix) {
                events.push(Arc::clone(event));
                if events.len() == BATCH_EVENTS {
                    seen = event.revision();
                    break;
                }
            }
        }
        self.seen = seen;
        let pending = if seen < state.revision { seen.next().0 } else { 0 };
        self.watcher.first_pending.store(pending, Ordering::Release);
        drop(state);
        Ok((!events.is_empty()).then(|| self.report(events)))
    }

    fn progress(&mut self) -> Option<Batch> {
        // A pull that came back empty has looked at everything up to `seen`.
        if let Ok(Some(batch)) = self.pull() {
            return Some(batch);
        }
        (self.seen > self.reported).then(|| self.report(Vec::new()))
    }

    fn report(&mut self, events: Vec<Arc<crate::types::Event>>) -> Batch {
        self.reported = self.seen;
        Batch { events, revision: self.seen }
    }
}
