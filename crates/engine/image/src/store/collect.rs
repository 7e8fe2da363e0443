//! What may go: blobs and snapshots that nothing reaches.
//!
//! ```text
//! after a removal    looks at what that had and at what leases and pins have let go of since
//! gc                 looks at all there is: at the start, when asked to, and to make room
//! ```
//! What is reached is told from memory both times. What there is to look at after a removal is in memory only: a
//! crash loses it, and the collection at the next start finds it.
//!
//! Invariant: nothing goes that was reached, leased or pinned at any moment of the collection. One runs at a time.

use super::ImageStore;
use crate::chain_id;
use hako_content::Blob;
use hako_error::{Kind, Result};
use hako_names::{Digest, ImageRef};
use hako_snapshot::State;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// What somebody else still needs of the stores.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// Blobs.
    pub blobs: HashSet<Digest>,
    /// Committed snapshots; their parents are kept by them.
    pub snapshots: HashSet<String>,
}

impl Roots {
    pub(super) fn add(&mut self, other: Self) {
        self.blobs.extend(other.blobs);
        self.snapshots.extend(other.snapshots);
    }
}

pub(super) type RootsOf = Box<dyn Fn() -> Result<Roots> + Send + Sync>;

/// What a collection removed.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Blobs.
    pub blobs: Vec<Blob>,
    /// Snapshots.
    pub snapshots: Vec<String>,
    /// How many blobs and snapshots it looked at for that.
    pub looked_at: usize,
}

impl Collected {
    pub(super) fn add(&mut self, other: Self) {
        self.blobs.extend(other.blobs);
        self.snapshots.extend(other.snapshots);
        self.looked_at += other.looked_at;
    }
}

/// Keeps a snapshot from being collected while it is held.
pub struct Pin {
    store: ImageStore,
    snapshot: String,
}

/// Which snapshots are held.
#[derive(Debug, Default)]
pub(super) struct Pins {
    held: HashMap<String, usize>,
    /// Let go of since a collection last looked.
    loose: HashSet<String>,
    /// While a collection runs: what was held or let go of since it began.
    touched: Option<HashSet<String>>,
}

impl Pins {
    fn hold(&mut self, snapshot: &str) {
        *self.held.entry(snapshot.to_owned()).or_default() += 1;
        if let Some(touched) = &mut self.touched {
            touched.insert(snapshot.to_owned());
        }
    }

    fn release(&mut self, snapshot: &str) {
        let Some(count) = self.held.get_mut(snapshot) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.held.remove(snapshot);
        self.loose.insert(snapshot.to_owned());
        if let Some(touched) = &mut self.touched {
            touched.insert(snapshot.to_owned());
        }
    }

    pub(super) fn holds(&self, snapshot: &str) -> bool {
        self.held.contains_key(snapshot)
    }

    /// Until [`Pins::end`] what is held or let go of survives. Returns what was let go of before, in the same step: what
    /// is let go of later is spared now, and has to be looked at next time.
    fn begin(&mut self) -> HashSet<String> {
        self.touched = Some(HashSet::new());
        std::mem::take(&mut self.loose)
    }

    fn end(&mut self) {
        self.touched = None;
    }

    fn spares(&self, snapshot: &str) -> bool {
        self.holds(snapshot) || self.touched.as_ref().is_some_and(|touched| touched.contains(snapshot))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({})", self.snapshot)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.store.inner.pins.lock().release(&self.snapshot);
    }
}

impl ImageStore {
    /// Adds a source of roots: what it names survives every later collection. It is asked each time and should
    /// answer from memory.
    pub fn add_roots(&self, roots: impl Fn() -> Result<Roots> + Send + Sync + 'static) {
        self.inner.roots.lock().push(Box::new(roots));
    }

    /// Keeps a committed snapshot while the pin is held, also before any image reaches it.
    #[must_use]
    pub fn pin(&self, snapshot: &str) -> Pin {
        self.inner.pins.lock().hold(snapshot);
        Pin { store: self.clone(), snapshot: snapshot.to_owned() }
    }

    /// Removes every blob and committed snapshot that no name, lease, pin, root, container or other snapshot
    /// reaches. What none of them reached when it was called, and none came to reach meanwhile, is gone when it returns.
    pub fn gc(&self) -> Result<Collected> {
        self.collecting(HashSet::new(), |store, _, wanted| {
            store.snapshots().empty_trash();
            let mut looked_at = 0;
            let blobs = store.content().collect(|all| {
                looked_at = all;
                store.reach(wanted)
            })?;
            let committed =
                store.snapshots().list().into_iter().filter(|info| info.state == State::Committed);
            let mut collected = store.sweep(committed.map(|info| info.name).collect(), wanted)?;
            collected.add(Collected { blobs, looked_at, ..Collected::default() });
            Ok(collected)
        })
    }

    /// The same among what leases and pins have let go of only, after something failed.
    pub fn collect_released(&self) -> Result<Collected> {
        self.collect_among(Roots::default())
    }

    /// The same among `candidates` and what leases and pins have let go of only.
    pub(super) fn collect_among(&self, candidates: Roots) -> Result<Collected> {
        self.collecting(candidates.snapshots, |store, loose, wanted| {
            let mut looked_at = 0;
            let blobs = store.content().collect_among(candidates.blobs, |all| {
                looked_at = all;
                store.reach(wanted)
            })?;
            let mut collected = store.sweep(loose.iter().cloned().collect(), wanted)?;
            collected.add(Collected { blobs, looked_at, ..Collected::default() });
            Ok(collected)
        })
    }

    /// What an image has, and nothing else may need.
    pub(super) fn pieces(parsed: &super::Parsed, manifest: Digest, digests: &[ImageRef]) -> Roots {
        let mut pieces = Roots::default();
        pieces.blobs.extend([manifest, parsed.id]);
        pieces.blobs.extend(digests.iter().filter_map(ImageRef::digest));
        pieces.blobs.extend(parsed.layers.iter().map(|layer| layer.digest));
        for end in 1..=parsed.layers.len() {
            let chain = chain_id(parsed.layers[..end].iter().map(|layer| layer.diff_id));
            pieces.snapshots.extend(chain.map(|id| id.hex()));
        }
        pieces
    }

    /// One at a time; `collect` is given the snapshots to look at: `candidates` and what pins have let go of. One that
    /// fails has looked at nothing.
    fn collecting(
        &self,
        candidates: HashSet<String>,
        collect: impl FnOnce(&Self, &HashSet<String>, &mut HashSet<String>) -> Result<Collected>,
    ) -> Result<Collected> {
        let _alone = self.inner.collecting.lock();
        let mut loose = self.inner.pins.lock().begin();
        loose.extend(candidates);
        let collected = collect(self, &loose, &mut HashSet::new());
        let mut pins = self.inner.pins.lock();
        pins.end();
        if collected.is_err() {
            pins.loose.extend(loose);
        }
        collected
    }

    /// The blobs that are reached; the snapshots go into `wanted`.
    fn reach(&self, wanted: &mut HashSet<String>) -> Result<HashSet<Digest>> {
        let reached = self.reachable()?;
        *wanted = reached.snapshots;
        Ok(reached.blobs)
    }

    /// What roots name and what the images have, whether it is there or not.
    fn reachable(&self) -> Result<Roots> {
        let mut reached = self.roots()?;
        let (manifests, indexes) = {
            let names = self.inner.names.read();
            // Indexes, where the digest is one's.
            reached.blobs.extend(names.digests());
            (names.manifests(), names.indexes())
        };
        for index in indexes {
            reached.blobs.insert(index);
            // As below. What other machines run needs no snapshot here.
            let Ok(parts) = self.indexed(index) else { continue };
            reached.blobs.extend(&parts.blobs);
        }
        for manifest in manifests {
            // An image that cannot be read keeps its manifest: nothing is lost that could be repaired.
            reached.blobs.insert(manifest);
            let Ok(parsed) = self.parsed(manifest) else {
                continue;
            };
            reached.blobs.insert(parsed.id);
            reached.blobs.extend(parsed.layers.iter().map(|layer| layer.digest));
            reached.snapshots.extend(parsed.chain.clone());
        }
        Ok(reached)
    }

    /// What others need.
    pub(super) fn roots(&self) -> Result<Roots> {
        let mut roots = Roots::default();
        for extra in self.inner.roots.lock().iter() {
            roots.add(extra()?);
        }
        Ok(roots)
    }

    /// Removes those of `names` that may go, and those below them that nothing else stands on.
    fn sweep(&self, mut names: Vec<String>, wanted: &HashSet<String>) -> Result<Collected> {
        let mut collected = Collected::default();
        while let Some(name) = names.pop() {
            collected.looked_at += 1;
            if wanted.contains(&name) {
                continue;
            }
            let Ok(info) = self.snapshots().stat(&name) else { continue };
            if info.state == State::Committed && self.remove_loose(&name)? {
                collected.snapshots.push(name);
                names.extend(info.parent);
            }
        }
        Ok(collected)
    }

    /// Removes a snapshot unless it is held, or something stands on it.
    fn remove_loose(&self, name: &str) -> Result<bool> {
        let retired = {
            // Who pins it from here on finds it gone, and makes it anew.
            let pins = self.inner.pins.lock();
            if pins.spares(name) {
                return Ok(false);
            }
            self.snapshots().retire(name)
        };
        match retired {
            Ok(retired) => {
                retired.delete();
                Ok(true)
            }
            Err(error) if matches!(error.kind(), Kind::FailedPrecondition | Kind::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
