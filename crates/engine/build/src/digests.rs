//! Digests of files in stacks of layers. What a stack holds never changes, so each is computed once for all builds
//! of a process, and a copy whose result is known opens nothing.

use crate::copy::View;
use crate::files::Selected;
use crate::shared::Shared;
use hako_error::Result;
use hako_image::{Layer, chain_id};
use hako_names::{Digest, Hasher};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Beyond that many all are forgotten: some 100 bytes each.
const MOST: usize = 16_384;
/// Files of all selections that wait for their copy: some 400 bytes each.
const MOST_FILES: usize = 65_536;

/// What is asked of a stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// A path or pattern.
    pub pattern: &'a str,
    pub excludes: &'a [String],
    pub keeps_parents: bool,
    /// What messages call the stack.
    pub from: &'a str,
}

impl Wanted<'_> {
    pub(crate) fn select(&self, view: &View) -> Result<Vec<Selected>> {
        view.source.select(self.pattern, self.excludes, self.keeps_parents, self.from)
    }
}

/// One digest; locked while somebody computes it, so that nobody else does.
type Slot = Arc<Mutex<Option<Digest>>>;

/// What is known. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests {
    slots: Arc<Mutex<HashMap<Digest, Slot>>>,
}

impl Digests {
    /// The digest over what is wanted of the files of `layers`.
    pub(crate) fn of(&self, shared: &Shared, layers: &[Layer], wanted: Wanted) -> Result<Digest> {
        self.get_or(key(layers, wanted), || {
            let (view, selected) = select(shared, layers, wanted)?;
            view.source.digest_all(&selected)
        })
    }

    /// The same of what may be copied next: the selection waits for that.
    pub(crate) fn of_copy(&self, shared: &Shared, layers: &[Layer], wanted: Wanted) -> Result<Digest> {
        let key = key(layers, wanted);
        self.get_or(key, || {
            let view = View::open_for(shared, layers, wanted.pattern)?;
            if let Some(digest) = listed(shared, &view, layers, wanted) {
                return Ok(digest);
            }
            let selected = wanted.select(&view)?;
            let digest = view.source.digest_all(&selected)?;
            shared.selections.keep(key, view, selected);
            Ok(digest)
        })
    }

    /// A failure is not remembered.
    fn get_or(&self, key: Digest, compute: impl FnOnce() -> Result<Digest>) -> Result<Digest> {
        let slot = {
            let mut slots = self.slots.lock();
            if slots.len() >= MOST {
                slots.clear();
            }
            slots.entry(key).or_default().clone()
        };
        let mut known = slot.lock();
        match *known {
            Some(digest) => Ok(digest),
            None => Ok(*known.insert(compute()?)),
        }
    }
}

/// What a build found for a digest and has yet to copy.
#[derive(Default)]
pub(crate) struct Selections(Mutex<HashMap<Digest, (View, Vec<Selected>)>>);

impl Selections {
    fn keep(&self, key: Digest, view: View, selected: Vec<Selected>) {
        let count = |selected: &[Selected]| selected.iter().map(|one| one.files.len()).sum::<usize>();
        let mut waiting = self.0.lock();
        let files: usize = waiting.values().map(|(_, selected)| count(selected)).sum();
        if files + count(&selected) <= MOST_FILES {
            waiting.insert(key, (view, selected));
        }
    }

    /// What is wanted of the files of `layers`, found now unless it was for its digest.
    pub(crate) fn take(
        &self,
        shared: &Shared,
        layers: &[Layer],
        wanted: Wanted,
    ) -> Result<(View, Vec<Selected>)> {
        let waiting = self.0.lock().remove(&key(layers, wanted));
        waiting.map_or_else(|| select(shared, layers, wanted), Ok)
    }
}

fn select(shared: &Shared, layers: &[Layer], wanted: Wanted) -> Result<(View, Vec<Selected>)> {
    let view = View::open_for(shared, layers, wanted.pattern)?;
    let selected = wanted.select(&view)?;
    Ok((view, selected))
}

/// The same from what this build wrote as the topmost layer, where all that is wanted lies there.
fn listed(shared: &Shared, view: &View, layers: &[Layer], wanted: Wanted) -> Option<Digest> {
    let top = layers.last().filter(|_| view.is_topmost)?;
    let is_all = wanted.excludes.is_empty() && !wanted.keeps_parents;
    is_all.then(|| shared.listings.digest(top.diff_id, wanted.pattern))?
}

fn key(layers: &[Layer], wanted: Wanted) -> Digest {
    let mut hasher = Hasher::new();
    if let Some(chain) = chain_id(layers.iter().map(|layer| layer.diff_id)) {
        hasher.update(chain.hex().as_bytes());
    }
    let Wanted { pattern, excludes, keeps_parents, from: _ } = wanted;
    hasher.update(format!("{pattern:?} {excludes:?} {keeps_parents}").as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hako_error::{Error, Kind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_digest_is_computed_once_however_many_ask_at_the_same_time() {
        let (digests, computed) = (Digests::default(), AtomicUsize::new(0));
        let key = Digest::of(b"key");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let found = digests.get_or(key, || {
                        computed.fetch_add(1, Ordering::SeqCst);
                        Ok(Digest::of(b"files"))
                    });
                    assert_eq!(found.unwrap(), Digest::of(b"files"));
                });
            }
        });
        assert_eq!(computed.into_inner(), 1);
    }

    #[test]
    fn a_failure_is_tried_again() {
        let digests = Digests::default();
        let key = Digest::of(b"key");
        digests.get_or(key, || Err(Error::new(Kind::Invalid, "there is no such file"))).unwrap_err();
        assert_eq!(digests.get_or(key, || Ok(key)).unwrap(), key);
    }

    #[test]
    fn every_part_of_a_question_counts() {
        let wanted = Wanted { pattern: "a", excludes: &[], keeps_parents: false, from: "" };
        let excludes = ["b".to_owned()];
        let others = [
            Wanted { pattern: "b", ..wanted },
            Wanted { excludes: &excludes, ..wanted },
            Wanted { keeps_parents: true, ..wanted },
        ];
        assert!(others.iter().all(|other| key(&[], *other) != key(&[], wanted)));
        assert_eq!(key(&[], Wanted { from: "stage", ..wanted }), key(&[], wanted));
    }
}
