//! Watches as cursors on the shared history.
//!
//! Owns: who waits for which prefix. A watcher has no buffer: the writer marks the first event it has not seen
//! and wakes it, the watcher reads from history at its own pace.
//!
//! INVARIANT: between a watcher's cursor and `first_pending` there is no event below its prefix. A watcher whose
//! prefix is quiet therefore never falls behind compaction, one with something pending does and is told so.
//! `first_pending` changes only under the state's lock: the writer's to mark, a reader's for its own watcher.

use std::collections::HashMap;
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
use crate::watch::{Batch, Watch};

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
pub struct Watchers(Mutex<HashMap<Bytes, Vec<Weak<Watcher>>>>);

impl Watchers {
    fn register(&self, prefix: Bytes) -> Arc<Watcher> {
        let watcher = Arc::new(Watcher::default());
        let mut prefixes = self.0.lock();
        prefixes.retain(|_, watchers| {
            watchers.retain(|watcher| watcher.strong_count() > 0);
            !watchers.is_empty()
        });
        prefixes.entry(prefix).or_default().push(Arc::downgrade(&watcher));
        watcher
    }

    /// Wakes the watchers of events that are being applied. Call it with the state locked for writing.
    pub fn publish(&self, events: &[Past]) {
        for (prefix, watchers) in self.0.lock().iter() {
            let first = events.iter().find(|past| past.event.entry.key.starts_with(prefix));
            let Some(first) = first.map(|past| past.event.revision().0) else {
                continue;
            };
            for watcher in watchers.iter().filter_map(Weak::upgrade) {
                let _ = watcher.first_pending.compare_exchange(0, first, Ordering::AcqRel, Ordering::Acquire);
                watcher.notify.notify_one();
            }
        }
    }

    /// Wakes everybody: the store is closed.
    pub fn close(&self) {
        for watcher in self.0.lock().values().flatten().filter_map(Weak::upgrade) {
            watcher.notify.notify_one();
        }
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
}

/// Starts a watch.
pub fn watch(shared: &Arc<Shared>, prefix: Bytes, after: Revision) -> Result<Watch> {
    let watcher = shared.watchers.register(prefix.clone());
    {
        let state = shared.state.read();
        state.check_history(after)?;
        if after < state.revision {
            watcher.first_pending.store(after.next().0, Ordering::Release);
        }
    }
    let cursor = Cursor {
        progress_interval: shared.config.progress_interval,
        shared: Arc::clone(shared),
        watcher,
        prefix,
        seen: after,
        reported: after,
        ended: false,
    };
    Ok(Watch::new(stream::unfold(cursor, |mut cursor| async move {
        let item = cursor.next().await?;
        Some((item, cursor))
    })))
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
            let waited = tokio::time::timeout(self.progress_interval, self.watcher.notify.notified()).await;
            if waited.is_err()
                && let Some(batch) = self.progress()
            {
                return Some(Ok(batch));
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
