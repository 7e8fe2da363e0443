//! A queue of keys to converge: each key at most once at a time, failures with growing delay.
//!
//! A key is *queued* (waits for a worker), *delayed* (waits for its time), *running* (a [`Work`] is out) or
//! *running and dirty* (added meanwhile; queued again when the work ends).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use hako_error::Result;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

const BACKOFF_FIRST: Duration = Duration::from_millis(5);
const BACKOFF_LAST: Duration = Duration::from_secs(300);

/// The queue. Cheap to clone.
pub struct WorkQueue<Key> {
    shared: Arc<Shared<Key>>,
}

struct Shared<Key> {
    state: Mutex<State<Key>>,
    wake: Notify,
    backoff_first: Duration,
    backoff_last: Duration,
}

struct State<Key> {
    ready: VecDeque<Key>,
    queued: HashSet<Key>,
    running: HashSet<Key>,
    dirty: HashSet<Key>,
    delayed: BinaryHeap<Reverse<(Instant, u64)>>,
    delayed_keys: HashMap<u64, Key>,
    sequence: u64,
    failures: HashMap<Key, u32>,
    closed: bool,
}

impl<Key> Clone for WorkQueue<Key> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<Key> fmt::Debug for WorkQueue<Key> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("WorkQueue").field("ready", &state.ready.len()).finish_non_exhaustive()
    }
}

impl<Key: Clone + Eq + Hash + Send> Default for WorkQueue<Key> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Key: Clone + Eq + Hash + Send> WorkQueue<Key> {
    /// Failures wait 5 ms, doubling to 5 min.
    #[must_use]
    pub fn new() -> Self {
        Self::with_backoff(BACKOFF_FIRST, BACKOFF_LAST)
    }

    /// Failures wait `first`, doubling to `last`.
    #[must_use]
    pub fn with_backoff(first: Duration, last: Duration) -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashSet::new(),
            dirty: HashSet::new(),
            delayed: BinaryHeap::new(),
            delayed_keys: HashMap::new(),
            sequence: 0,
            failures: HashMap::new(),
            closed: false,
        };
        let shared = Shared {
            state: Mutex::new(state),
            wake: Notify::new(),
            backoff_first: first,
            backoff_last: last,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Queues a key, unless it is queued already.
    pub fn add(&self, key: Key) {
        self.shared.state.lock().add(key);
        self.shared.wake.notify_one();
    }

    /// Queues a key after a delay.
    pub fn add_after(&self, key: Key, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.shared.state.lock().delay(key, Instant::now() + delay);
        self.shared.wake.notify_one();
    }

    /// Queues a key after the delay its failures have earned.
    pub fn add_backoff(&self, key: Key) {
        let delay = {
            let mut state = self.shared.state.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            let factor = 1_u32.checked_shl(*failures).unwrap_or(u32::MAX);
            *failures = failures.saturating_add(1).min(31);
            self.shared.backoff_first.saturating_mul(factor).min(self.shared.backoff_last)
        };
        self.add_after(key, delay);
    }

    /// Forgets a key's failures.
    pub fn forget(&self, key: &Key) {
        self.shared.state.lock().failures.remove(key);
    }

    /// How many keys wait for a worker now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.state.lock().ready.len()
    }

    /// Whether no key waits for a worker now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets all workers end.
    pub fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.wake.notify_waiters();
        self.shared.wake.notify_one();
    }

    /// The next key to work on; none once the queue is closed.
    pub async fn next(&self) -> Option<Work<Key>> {
        loop {
            let notified = self.shared.wake.notified();
            let due = {
                let mut state = self.shared.state.lock();
                if state.closed {
                    self.shared.wake.notify_one();
                    return None;
                }
                state.promote(Instant::now());
                if let Some(key) = state.take() {
                    if !state.ready.is_empty() || !state.delayed.is_empty() {
                        self.shared.wake.notify_one();
                    }
                    return Some(Work { queue: self.clone(), key: Some(key) });
                }
                state.delayed.peek().map(|Reverse((at, _))| *at)
            };
            match due {
                None => notified.await,
                Some(at) => tokio::select! {
                    () = notified => {}
                    () = tokio::time::sleep_until(at) => {}
                },
            }
        }
    }

    /// Works on keys with `workers` at a time until the queue is closed or the future dropped.
    ///
    /// `Ok(None)` is done, `Ok(Some(delay))` looks again later, `Err` is logged and tried again with back-off
    /// (conflicts silently: they are the normal course of things).
    pub async fn run<F, Fut>(&self, workers: usize, reconcile: F)
    where
        F: Fn(Key) -> Fut,
        Fut: Future<Output = Result<Option<Duration>>>,
        Key: fmt::Debug,
    {
        let mut running: FuturesUnordered<_> = (0..workers.max(1)).map(|_| self.work(&reconcile)).collect();
        while running.next().await.is_some() {}
    }

    async fn work<F, Fut>(&self, reconcile: &F)
    where
        F: Fn(Key) -> Fut,
        Fut: Future<Output = Result<Option<Duration>>>,
        Key: fmt::Debug,
    {
        while let Some(work) = self.next().await {
            match reconcile(work.key().clone()).await {
                Ok(None) => work.done(),
                Ok(Some(delay)) => work.again_after(delay),
                Err(error) => {
                    if error.kind() != hako_error::Kind::Conflict {
                        tracing::warn!(key = ?work.key(), error = %error.chain(), "reconcile failed, trying again");
                    }
                    work.retry();
                }
            }
        }
    }

    fn finish(&self, key: &Key) {
        let mut state = self.shared.state.lock();
        state.running.remove(key);
        if state.dirty.remove(key) {
            state.add(key.clone());
            drop(state);
            self.shared.wake.notify_one();
        }
    }
}

impl<Key: Clone + Eq + Hash> State<Key> {
    fn add(&mut self, key: Key) {
        if self.running.contains(&key) {
            self.dirty.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn delay(&mut self, key: Key, at: Instant) {
        self.sequence += 1;
        self.delayed.push(Reverse((at, self.sequence)));
        self.delayed_keys.insert(self.sequence, key);
    }

    fn promote(&mut self, now: Instant) {
        while let Some(Reverse((at, sequence))) = self.delayed.peek() {
            if *at > now {
                return;
            }
            let sequence = *sequence;
            self.delayed.pop();
            if let Some(key) = self.delayed_keys.remove(&sequence) {
                self.add(key);
            }
        }
    }

    fn take(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }
}

/// A key being worked on. Dropping it without a verdict only ends the work.
pub struct Work<Key: Clone + Eq + Hash + Send> {
    queue: WorkQueue<Key>,
    key: Option<Key>,
}

impl<Key: Clone + Eq + Hash + Send + fmt::Debug> fmt::Debug for Work<Key> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Work").field(&self.key).finish()
    }
}

impl<Key: Clone + Eq + Hash + Send> Work<Key> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        // INVARIANT: only `drop` takes the key.
        self.key.as_ref().expect("the key is there until drop")
    }

    /// The key has converged.
    pub fn done(self) {
        self.queue.forget(self.key());
    }

    /// Again after the back-off.
    pub fn retry(self) {
        self.queue.add_backoff(self.key().clone());
    }

    /// All is well, look again after `delay`.
    pub fn again_after(self, delay: Duration) {
        self.queue.forget(self.key());
        self.queue.add_after(self.key().clone(), delay);
    }
}

impl<Key: Clone + Eq + Hash + Send> Drop for Work<Key> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.queue.finish(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_added_twice_is_worked_on_once() {
        let queue = WorkQueue::new();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.len(), 2);
        queue.next().await.unwrap().done();
        queue.next().await.unwrap().done();
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn a_key_added_while_running_comes_again_after_the_work() {
        let queue = WorkQueue::new();
        queue.add("a");
        let work = queue.next().await.unwrap();
        queue.add("a");
        assert!(queue.is_empty());
        work.done();
        assert_eq!(*queue.next().await.unwrap().key(), "a");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_until_forgotten() {
        let queue = WorkQueue::with_backoff(Duration::from_secs(1), Duration::from_secs(3));
        let mut waits = Vec::new();
        queue.add("a");
        for _ in 0..4 {
            let work = queue.next().await.unwrap();
            let start = Instant::now();
            work.retry();
            let work = queue.next().await.unwrap();
            waits.push(start.elapsed().as_secs());
            drop(work);
            queue.add("a");
        }
        assert_eq!(waits, [1, 2, 3, 3]);
    }

    #[tokio::test]
    async fn closing_ends_all_workers() {
        let queue = WorkQueue::<u8>::new();
        let run = queue.run(3, |_| async { Ok(None) });
        queue.close();
        run.await;
    }
}
