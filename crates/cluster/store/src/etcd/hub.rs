//! One watch of all our keys, shared by every watcher.
//!
//! Owns: the events since the process began to follow, as far as their bytes are allowed, and every watcher's place in
//! them. A watcher behind them reads etcd itself until it has caught up; so a slow one costs a connection, not memory.
//!
//! INVARIANT: all events after `start` up to `end` are in `events`, in order. `end` only moves to a revision whose
//! events have all come: the progress that etcd 3.4 tells may be ahead of them (etcd issue 15220), so it is not asked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use parking_lot::Mutex;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, sleep_until};

use super::source::{Feed, Source};
use crate::error::{Result, StoreError};
use crate::types::{Entry, Event, Revision};
use crate::watch::{Batch, Question, Watch};

/// Events handed out at once, but for a revision with more.
const BATCH_EVENTS: usize = 1024;
/// Between attempts to follow a cluster that is gone.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What has been read, and who waits for more.
pub struct Hub {
    history: Mutex<History>,
    /// How far it has come; `None` once it is closed.
    end: Sender<Option<Revision>>,
    limit: usize,
    progress_interval: Duration,
}

struct History {
    events: VecDeque<Arc<Event>>,
    start: Revision,
    end: Revision,
    bytes: usize,
}

/// What a watcher at some place finds.
enum Found {
    /// Its place is older than what is kept.
    Behind,
    /// It has seen all.
    Nothing,
    Some(Batch),
}

impl Hub {
    pub fn new(start: Revision, limit: usize, progress_interval: Duration) -> Self {
        let history = History { events: VecDeque::new(), start, end: start, bytes: 0 };
        Self { history: Mutex::new(history), end: channel(Some(start)).0, limit, progress_interval }
    }

    /// Ends all watches.
    pub fn close(&self) {
        self.end.send_replace(None);
    }

    fn end(&self) -> Revision {
        self.history.lock().end
    }

    fn start(&self) -> Revision {
        self.history.lock().start
    }

    fn append(&self, events: Vec<Arc<Event>>, end: Revision) {
        let mut history = self.history.lock();
        for event in events {
            history.bytes += size(&event);
            history.events.push_back(event);
        }
        history.end = end;
        while history.bytes > self.limit {
            let Some(oldest) = history.events.pop_front() else { break };
            history.bytes -= size(&oldest);
            history.start = oldest.revision();
            // A revision is kept or gone as a whole.
            while history.events.front().is_some_and(|event| event.revision() == history.start) {
                let Some(rest) = history.events.pop_front() else { break };
                history.bytes -= size(&rest);
            }
        }
        drop(history);
        self.end.send_replace(Some(end));
    }

    /// Begins anew after a gap that etcd's own history no longer fills.
    fn restart(&self, at: Revision) {
        *self.history.lock() = History { events: VecDeque::new(), start: at, end: at, bytes: 0 };
        self.end.send_replace(Some(at));
    }

    fn read(&self, after: Revision, prefix: &[u8]) -> Found {
        let history = self.history.lock();
        if after < history.start {
            return Found::Behind;
        }
        if after >= history.end {
            return Found::Nothing;
        }
        let first = history.events.partition_point(|event| event.revision() <= after);
        let mut events: Vec<Arc<Event>> = Vec::new();
        for event in history.events.range(first..).filter(|event| event.entry.key.starts_with(prefix)) {
            let last = events.last().map(|last| last.revision());
            if let Some(revision) =
                last.filter(|last| events.len() >= BATCH_EVENTS && *last != event.revision())
            {
                return Found::Some(Batch { events, revision });
            }
            events.push(Arc::clone(event));
        }
        Found::Some(Batch { events, revision: history.end })
    }
}

/// Bytes that an event keeps alive.
fn size(event: &Event) -> usize {
    let of = |entry: &Entry| entry.key.len() + entry.value.len() + size_of::<Entry>();
    of(&event.entry) + event.previous.as_deref().map_or(0, of) + size_of::<Event>()
}

/// Reads all events for as long as the task lives.
pub async fn follow(hub: Arc<Hub>, source: Source) {
    let mut pause = RETRY.0;
    loop {
        let error = match source.follow(hub.end()).await {
            Ok(mut feed) => loop {
                match feed.next().await {
                    Ok((events, end)) => {
                        hub.append(events, end);
                        pause = RETRY.0;
                    }
                    Err(error) => break error,
                }
            },
            Err(error) => error,
        };
        if let StoreError::Compacted { .. } = error
            && let Ok(now) = source.revision().await
        {
            hub.restart(now);
            continue;
        }
        tracing::warn!(%error, "the store is not followed, trying again");
        sleep(pause).await;
        pause = (pause * 2).min(RETRY.1);
    }
}

/// A watcher's place.
struct Cursor {
    hub: Arc<Hub>,
    moved: Receiver<Option<Revision>>,
    source: Source,
    /// Open while it is behind the hub.
    feed: Option<Feed>,
    prefix: Bytes,
    seen: Revision,
    reported: Revision,
    reported_at: Instant,
    ended: bool,
    question: Arc<Question>,
}

/// Starts a watch.
pub fn watch(hub: Arc<Hub>, source: Source, prefix: Bytes, after: Revision) -> Watch {
    let question = Arc::<Question>::default();
    let cursor = Cursor {
        question: Arc::clone(&question),
        moved: hub.end.subscribe(),
        hub,
        source,
        feed: None,
        prefix,
        seen: after,
        reported: after,
        reported_at: Instant::now(),
        ended: false,
    };
    let batches = stream::unfold(cursor, |mut cursor| async move {
        let item = cursor.next().await?;
        Some((item, cursor))
    });
    Watch::new(batches, question)
}

impl Cursor {
    async fn next(&mut self) -> Option<Result<Batch>> {
        while !self.ended {
            // Marked as seen before looking, so that what comes after the look wakes.
            let is_open = self.moved.borrow_and_update().is_some();
            match self.hub.read(self.seen, &self.prefix) {
                _ if !is_open => self.ended = true,
                Found::Some(batch) => {
                    self.feed = None;
                    self.seen = batch.revision;
                    if !batch.events.is_empty() {
                        return Some(Ok(self.report(batch.events)));
                    }
                }
                Found::Nothing => {
                    self.feed = None;
                    if self.question.take() {
                        return Some(Ok(self.report(Vec::new())));
                    }
                    if let Some(progress) = self.rest().await {
                        return Some(Ok(progress));
                    }
                }
                Found::Behind => match self.catch_up().await {
                    Ok(events) if events.is_empty() => {}
                    Ok(events) => return Some(Ok(self.report(events))),
                    Err(error) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                },
            }
        }
        None
    }

    fn report(&mut self, events: Vec<Arc<Event>>) -> Batch {
        (self.reported, self.reported_at) = (self.seen, Instant::now());
        Batch { events, revision: self.seen }
    }

    /// Waits for more, or until it is time to say how far it has come.
    async fn rest(&mut self) -> Option<Batch> {
        let is_new = self.seen > self.reported;
        tokio::select! {
            _ = self.moved.changed() => None,
            () = self.question.asked() => None,
            () = sleep_until(self.reported_at + self.hub.progress_interval), if is_new => {
                Some(self.report(Vec::new()))
            }
        }
    }

    /// Events from etcd itself, whose history reaches further back than the hub's.
    async fn catch_up(&mut self) -> Result<Vec<Arc<Event>>> {
        if self.feed.is_none() {
            self.feed = Some(self.source.follow(self.seen).await?);
            // The hub may begin at a write of others, which the feed does not see: this one it does.
            self.source.fence().await?;
        }
        let Some(feed) = &mut self.feed else { return Ok(Vec::new()) };
        let (events, seen) = feed.next().await?;
        self.seen = seen;
        if seen >= self.hub.start() {
            self.feed = None;
        }
        Ok(events.into_iter().filter(|event| event.entry.key.starts_with(&self.prefix)).collect())
    }
}
