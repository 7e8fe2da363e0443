//! Results of steps that wait for the disk while the next steps run already, and where nothing needs them yet also after
//! the build.
//!
//! ```text
//! step ──> snapshot, which the next step stands on
//!      └─> blob, written ──> synced, visible ──> records of the step
//!                            ^ with the image that has it; else all that wait at once: after a pause, when somebody
//!                              asks for one of the keys, or when the build has ended
//! ```
//! A sync makes all wait that change the file system meanwhile, so while a build runs there are few of them.
//!
//! Invariant: a record says of no blob that is not there. A process that dies loses results that waited: these steps run
//! again.

use crate::cache::{Cache, Record};
use hako_content::Lease;
use hako_error::{Error, Result};
use hako_image::{ImageStore, Layer, NewLayer, Pin};
use hako_names::Digest;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long results are collected before a sync; a process that dies costs the steps of so long.
const PAUSE: Duration = Duration::from_secs(2);

/// What the results of all builds wait for, by the keys of their steps.
#[derive(Clone, Default)]
pub(crate) struct Pending(Arc<Mutex<HashMap<Digest, Arc<Inner>>>>);

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.lock().keys()).finish()
    }
}

impl Pending {
    /// Waits until what a step of that key came to is recorded, if it is on its way there.
    pub(crate) fn wait_for(&self, key: Digest) {
        let found = self.0.lock().get(&key).cloned();
        if let Some(inner) = found {
            inner.wait_for(|result| result.has(key));
        }
    }

    /// Waits for all.
    pub(crate) fn wait(&self) {
        let all: Vec<Arc<Inner>> = self.0.lock().values().cloned().collect();
        all.iter().for_each(|inner| inner.wait_for(|_| true));
    }

    fn insert(&self, result: &StepResult, of: &Arc<Inner>) {
        let mut all = self.0.lock();
        all.extend([result.content, result.definition].map(|key| (key, Arc::clone(of))));
    }

    /// Another build may have come to the same since.
    fn remove(&self, result: &StepResult, of: &Inner) {
        let mut all = self.0.lock();
        for key in [result.content, result.definition] {
            if all.get(&key).is_some_and(|inner| std::ptr::eq(&raw const **inner, of)) {
                all.remove(&key);
            }
        }
    }
}

/// The results of one build that wait.
pub(crate) struct Settling {
    inner: Arc<Inner>,
    lease: Arc<Lease>,
}

struct Inner {
    images: ImageStore,
    cache: Cache,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Unsettled>,
    /// The results of what is being synced.
    under_way: Vec<StepResult>,
    /// Somebody waits for them.
    is_urgent: bool,
    is_running: bool,
    /// Nobody hears of errors any more.
    has_ended: bool,
    first_error: Option<Error>,
}

/// What a step came to, and how it is found.
#[derive(Clone)]
pub(crate) struct StepResult {
    pub record: Record,
    pub content: Digest,
    pub definition: Digest,
}

impl StepResult {
    fn has(&self, key: Digest) -> bool {
        self.content == key || self.definition == key
    }

    fn layer(&self) -> Option<Digest> {
        self.record.layer.as_ref().map(|layer| layer.digest)
    }
}

struct Unsettled {
    new: NewLayer,
    result: StepResult,
    hold: Hold,
}

/// Keeps blob and snapshot from a collection until the record does.
type Hold = (Arc<Lease>, Option<Pin>);

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.inner.state.lock().waiting.len();
        f.debug_struct("Settling").field("waiting", &waiting).finish_non_exhaustive()
    }
}

impl Settling {
    /// `lease` is what blobs appear under.
    pub(crate) fn new(images: ImageStore, cache: Cache, lease: Arc<Lease>) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { inner: Arc::new(Inner { images, cache, state, changed }), lease }
    }

    /// Records under both keys what the step came to; behind the caller's back where its blob has to be waited for.
    pub(crate) fn add(&self, new: Option<NewLayer>, result: StepResult, pin: Option<Pin>) -> Result<()> {
        let Some(new) = new else { return self.inner.record(&result) };
        let mut state = self.inner.state.lock();
        self.inner.cache.pending.insert(&result, &self.inner);
        state.waiting.push(Unsettled { new, result, hold: (Arc::clone(&self.lease), pin) });
        if state.is_running {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        let started = std::thread::Builder::new().name("build-settle".into()).spawn(move || inner.run());
        state.is_running = started.is_ok();
        drop(state);
        if started.is_err() {
            // Nobody else would do it.
            self.inner.settle();
        }
        Ok(())
    }

    /// Gives those of the layers that have yet to be synced to `commit`, which syncs them, and records them then.
    pub(crate) fn commit<T>(
        &self,
        layers: &[Layer],
        commit: impl FnOnce(Vec<NewLayer>) -> Result<T>,
    ) -> Result<T> {
        let is_wanted = |result: &StepResult| layers.iter().any(|layer| Some(layer.digest) == result.layer());
        let mut state = self.inner.state.lock();
        self.inner.changed.wait_while(&mut state, |state| state.under_way.iter().any(is_wanted));
        if let Some(error) = state.first_error.take() {
            return Err(error);
        }
        let waiting = std::mem::take(&mut state.waiting);
        let (taken, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|one| is_wanted(&one.result));
        state.waiting = rest;
        self.inner.commit(state, taken, commit)
    }

    /// Waits until all layers made so far are there.
    pub(crate) fn wait(&self) -> Result<()> {
        self.inner.wait_for(|_| true);
        self.inner.state.lock().first_error.take().map_or(Ok(()), Err)
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        (state.is_urgent, state.has_ended) = (true, true);
        drop(state);
        self.inner.changed.notify_all();
    }
}

impl Inner {
    /// Settles what comes until nothing has come for a while.
    fn run(&self) {
        loop {
            let mut state = self.state.lock();
            let until = Instant::now() + PAUSE;
            while !state.is_urgent && !self.changed.wait_until(&mut state, until).timed_out() {}
            if state.waiting.is_empty() {
                state.is_running = false;
                return;
            }
            drop(state);
            self.settle();
        }
    }

    /// Settles what waits now.
    fn settle(&self) {
        hako_sys::failpoint!("build.later.begin");
        let mut state = self.state.lock();
        state.is_urgent = false;
        let taken = std::mem::take(&mut state.waiting);
        // An error is told before they count as settled: who waits for them looks for one next.
        let commit = |new| -> Result<(), ()> {
            self.images.commit_layers(new).map_err(|error| self.failed(error))?;
            hako_sys::failpoint!("build.later.there");
            Ok(())
        };
        let _ = self.commit(state, taken, commit);
    }

    fn failed(&self, error: Error) {
        let mut state = self.state.lock();
        if state.has_ended {
            tracing::warn!(error = error.chain(), "results of a build's steps are not kept");
        } else {
            state.first_error.get_or_insert(error);
        }
    }

    fn commit<T, E>(
        &self,
        mut state: MutexGuard<'_, State>,
        taken: Vec<Unsettled>,
        commit: impl FnOnce(Vec<NewLayer>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut end = End { inner: self, results: Vec::new(), holds: Vec::new() };
        let mut all = Vec::new();
        for Unsettled { new, result, hold } in taken {
            all.push(new);
            end.results.push(result);
            end.holds.push(hold);
        }
        state.under_way.extend(end.results.iter().cloned());
        drop(state);
        let committed = commit(all)?;
        hako_sys::failpoint!("build.settle.there");
        for result in &end.results {
            if let Err(error) = self.record(result) {
                tracing::warn!(error = error.chain(), "the result of a build's step is not kept");
            }
        }
        hako_sys::failpoint!("build.settle.recorded");
        Ok(committed)
    }

    fn record(&self, result: &StepResult) -> Result<()> {
        self.cache.put(result.content, &result.record)?;
        Ok(self.cache.put(result.definition, &result.record)?)
    }

    fn wait_for(&self, is_it: impl Fn(&StepResult) -> bool) {
        let mut state = self.state.lock();
        loop {
            if state.waiting.iter().any(|one| is_it(&one.result)) {
                state.is_urgent = true;
                self.changed.notify_all();
            } else if !state.under_way.iter().any(&is_it) {
                return;
            }
            self.changed.wait(&mut state);
        }
    }
}

/// The end of some results' waiting, however it comes.
struct End<'a> {
    inner: &'a Inner,
    results: Vec<StepResult>,
    holds: Vec<Hold>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        // Who finds nothing waiting finds nothing held.
        self.holds.clear();
        let mut state = self.inner.state.lock();
        for result in &self.results {
            self.inner.cache.pending.remove(result, self.inner);
            let is_it = |known: &StepResult| known.definition == result.definition;
            if let Some(at) = state.under_way.iter().position(is_it) {
                state.under_way.swap_remove(at);
            }
        }
        drop(state);
        self.inner.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hako_content::ContentStore;
    use hako_snapshot::Overlay;
    use std::fs;
    use std::path::Path;

    fn open(dir: &Path) -> (ImageStore, Cache) {
        let content = ContentStore::open(dir.join("content")).unwrap();
        let snapshots = Arc::new(Overlay::open(dir.join("snapshots")).unwrap());
        let images = ImageStore::open(content, snapshots, dir.join("images")).unwrap();
        let cache = Cache::open(&images).unwrap();
        (images, cache)
    }

    struct Bench {
        dir: tempfile::TempDir,
        images: ImageStore,
        cache: Cache,
        lease: Arc<Lease>,
        settling: Settling,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (images, cache) = open(dir.path());
            let lease = Arc::new(images.lease("test").unwrap());
            let settling = Settling::new(images.clone(), cache.clone(), Arc::clone(&lease));
            Self { dir, images, cache, lease, settling }
        }

        /// A step whose layer is an empty tar of so many blocks, and whose keys are of that name.
        fn add(&self, name: &str, blocks: usize) -> Layer {
            let written = self.images.write_tar("a layer", &self.lease, |sink| {
                sink.write_all(&vec![0; 512 * blocks]).unwrap();
                Ok(())
            });
            let new = written.unwrap().0;
            let layer = new.layer().clone();
            let [content, definition] = keys(name);
            let record = Record {
                layer: Some(layer.clone()),
                snapshot: None,
                created: String::new(),
                content: Some(content),
            };
            self.settling.add(Some(new), StepResult { record, content, definition }, None).unwrap();
            layer
        }

        fn has(&self, layer: &Layer) -> bool {
            self.images.content().exists(layer.digest)
        }

        fn ingests(&self) -> usize {
            fs::read_dir(self.dir.path().join("content/ingest")).unwrap().count()
        }
    }

    fn keys(name: &str) -> [Digest; 2] {
        ["content", "definition"].map(|kind| Digest::of(format!("{kind} of {name}").as_bytes()))
    }

    #[test]
    fn a_result_is_recorded_when_its_blob_is_there_and_not_at_all_if_that_fails() {
        let bench = Bench::new();
        let layer = bench.add("one", 2);
        bench.settling.wait().unwrap();
        assert!(bench.has(&layer));
        for key in keys("one") {
            assert_eq!(bench.cache.get(key, &bench.lease).unwrap().layer.as_ref(), Some(&layer));
        }
        bench.cache.clear().unwrap();
        // Nothing can appear there any more.
        fs::remove_dir_all(bench.dir.path().join("content/blobs")).unwrap();
        bench.add("two", 4);
        bench.settling.wait().unwrap_err();
        assert!(keys("two").iter().all(|key| bench.cache.get(*key, &bench.lease).is_none()));
        assert!(bench.cache.list().unwrap().is_empty());
        assert_eq!(bench.ingests(), 0);
    }

    #[test]
    fn who_asks_for_a_result_that_waits_gets_it_by_either_key() {
        let bench = Bench::new();
        for (name, at) in [("one", 0), ("two", 1)] {
            let layer = bench.add(name, 2 + at);
            assert!(!bench.has(&layer), "it waits for more");
            let found = bench.cache.get(keys(name)[at], &bench.lease).unwrap();
            assert_eq!(found.layer.as_ref(), Some(&layer));
            assert!(bench.has(&layer));
        }
    }

    #[test]
    fn an_image_takes_its_layers_and_leaves_the_others_to_come_later() {
        let bench = Bench::new();
        let (stage, own) = (bench.add("stage", 2), bench.add("own", 3));
        let taken = bench.settling.commit(std::slice::from_ref(&own), |new| {
            let layers: Vec<Layer> = new.iter().map(|new| new.layer().clone()).collect();
            bench.images.commit_layers(new)?;
            Ok(layers)
        });
        assert_eq!(taken.unwrap(), std::slice::from_ref(&own));
        assert!(bench.has(&own) && !bench.has(&stage));
        assert!(bench.cache.get(keys("own")[0], &bench.lease).is_some());
        let Bench { settling, cache, images, lease, dir } = bench;
        drop(settling);
        drop(lease);
        cache.pending.wait();
        assert!(images.content().exists(stage.digest));
        assert_eq!(cache.list().unwrap().len(), 4);
        let leases = fs::read_dir(dir.path().join("content/leases")).unwrap();
        assert_eq!(leases.count(), 0, "what a build held is let go of when all of it is recorded");
    }
}
