//! Results of steps that wait for the disk while the next steps run already.
//!
//! ```text
//! step ──> snapshot, which the next step stands on
//!      └─> blob, written ──> synced, visible ──> records of the step       behind the steps
//! ```
//! Invariant: a record says of no blob that is not there; a build that has ended, however it did, waits for none.

use crate::cache::{Cache, Record};
use hako_error::{Error, Kind, Result};
use hako_image::NewLayer;
use hako_names::Digest;
use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::sync::Arc;

/// What one build waits for.
#[derive(Default)]
pub(crate) struct Settling(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The content keys of steps that have run and whose results are not there yet; two may have run to the same.
    under_way: Vec<Digest>,
    first_error: Option<Error>,
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settling").field("under_way", &self.0.state.lock().under_way).finish_non_exhaustive()
    }
}

impl Settling {
    /// Waits for the layer's blob on a thread of its own, then records under both keys what the step came to.
    pub(crate) fn add(
        &self,
        cache: &Cache,
        new: Option<NewLayer>,
        record: Record,
        content: Digest,
        definition: Digest,
    ) -> Result<()> {
        let cache = cache.clone();
        let record_it = move || -> Result<()> {
            cache.put(content, &record)?;
            Ok(cache.put(definition, &record)?)
        };
        let Some(new) = new else { return record_it() };
        self.0.state.lock().under_way.push(content);
        let end = End { inner: self.0.clone(), content, settled: Ok(()) };
        let settle = move || {
            let mut end = end;
            end.settled = new.commit().and_then(|_| record_it());
        };
        // A thread that does not start drops what it was given, and with it the blob.
        std::thread::Builder::new().name("build-settle".into()).spawn(settle).map(drop).map_err(|source| {
            Error::new(Kind::Exhausted, "cannot start a thread that waits for the disk").with_source(source)
        })
    }

    /// Waits until what this content came to is recorded, if it is on its way there.
    pub(crate) fn wait_for(&self, content: Digest) {
        let mut state = self.0.state.lock();
        self.0.changed.wait_while(&mut state, |state| state.under_way.contains(&content));
    }

    /// Waits until all layers made so far are there.
    pub(crate) fn wait(&self) -> Result<()> {
        let mut state = self.0.state.lock();
        self.0.changed.wait_while(&mut state, |state| !state.under_way.is_empty());
        state.first_error.take().map_or(Ok(()), Err)
    }
}

/// The end of one step's waiting, however it comes.
struct End {
    inner: Arc<Inner>,
    content: Digest,
    settled: Result<()>,
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        let at = state.under_way.iter().position(|known| *known == self.content);
        if let Some(at) = at {
            state.under_way.swap_remove(at);
        }
        if let Err(error) = std::mem::replace(&mut self.settled, Ok(())) {
            state.first_error.get_or_insert(error);
        }
        drop(state);
        self.inner.changed.notify_all();
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        // Why the build failed has been told.
        let _ = self.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hako_content::ContentStore;
    use hako_image::ImageStore;
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

    #[test]
    fn a_result_is_recorded_when_its_blob_is_there_and_not_at_all_if_that_fails() {
        let dir = tempfile::tempdir().unwrap();
        let (images, cache) = open(dir.path());
        let lease = images.lease("test").unwrap();
        let (content, definition) = (Digest::of(b"content"), Digest::of(b"definition"));
        let settle = |bytes: &[u8]| {
            let written = images.write_tar("a layer", &lease, |sink| {
                sink.write_all(bytes).unwrap();
                Ok(())
            });
            let new = written.unwrap().0;
            let (layer, created) = (Some(new.layer().clone()), String::new());
            let record = Record { layer, snapshot: None, created, content: Some(content) };
            let settling = Settling::default();
            settling.add(&cache, Some(new), record, content, definition).unwrap();
            settling.wait_for(content);
            settling.wait()
        };
        settle(&[0; 1024]).unwrap();
        let layer = cache.get(content, &lease).unwrap().layer.unwrap();
        assert!(images.content().exists(layer.digest) && cache.get(definition, &lease).is_some());
        cache.clear().unwrap();
        // Nothing can appear there any more.
        fs::remove_dir_all(dir.path().join("content/blobs")).unwrap();
        settle(&[0; 2048]).unwrap_err();
        assert!(cache.get(content, &lease).is_none() && cache.list().unwrap().is_empty());
        assert_eq!(fs::read_dir(dir.path().join("content/ingest")).unwrap().count(), 0);
    }
}
