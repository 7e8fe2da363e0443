//! Entries in the order of their keys, in short runs that readers share.
//!
//! Whoever reads thousands of entries takes a few dozen runs, and can tell later what is as it was, by their ids.
//!
//! INVARIANT: a run has the keys from its bound on up to the bound of the next one. The first bound is the empty key, so
//! that each key has its run. A run that somebody reads is not changed: the next write takes a copy, of at most [`MOST`]
//! pointers.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::types::{Entry, Section};

/// So many entries a run has at most. A write makes the others of its run strangers to who remembers them.
pub const MOST: usize = 64;
/// A run of fewer looks whether the one before has room for them.
const FEW: usize = MOST / 4;

static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// Neighbours in the order of keys.
#[derive(Debug)]
pub struct Run {
    id: u64,
    entries: Vec<Arc<Entry>>,
}

impl Clone for Run {
    fn clone(&self) -> Self {
        Self::of(self.entries.clone())
    }
}

impl Run {
    fn of(entries: Vec<Arc<Entry>>) -> Self {
        Self { id: LAST_ID.fetch_add(1, Ordering::Relaxed), entries }
    }

    /// Names these entries: with others, a run has another one, and so has each other run of the process.
    pub const fn id(&self) -> u64 {
        self.id
    }

    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.key[..].cmp(key))
    }

    /// The entries of a run that is about to be another one.
    fn changed(this: &mut Arc<Self>) -> &mut Vec<Arc<Entry>> {
        let run = Arc::make_mut(this);
        run.id = LAST_ID.fetch_add(1, Ordering::Relaxed);
        &mut run.entries
    }
}

/// All entries.
#[derive(Debug)]
pub struct Runs {
    by_bound: BTreeMap<Bytes, Arc<Run>>,
    len: usize,
}

impl Default for Runs {
    fn default() -> Self {
        Self { by_bound: BTreeMap::from([(Bytes::new(), Arc::new(Run::of(Vec::new())))]), len: 0 }
    }
}

impl Runs {
    pub const fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, key: &[u8]) -> Option<&Arc<Entry>> {
        let run = self.up_to(key).next_back()?.1;
        run.find(key).ok().map(|at| &run.entries[at])
    }

    /// Puts an entry; answers the one that was in its place.
    pub fn put(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let key = &entry.key[..];
        let run = self.up_to_mut(key).next_back()?.1;
        let at = match run.find(key) {
            Ok(at) => return Some(std::mem::replace(&mut Run::changed(run)[at], entry)),
            Err(at) => at,
        };
        let entries = Run::changed(run);
        if entries.len() < MOST {
            entries.insert(at, entry);
        } else {
            // Keys that come in their order leave full runs behind.
            let mut later = entries.split_off(if at == MOST { MOST } else { MOST / 2 });
            match at.checked_sub(entries.len()) {
                Some(at) => later.insert(at, entry),
                None => entries.insert(at, entry),
            }
            // A copy, because the key would keep all of an entry that is gone.
            let bound = Bytes::copy_from_slice(&later[0].key);
            self.by_bound.insert(bound, Arc::new(Run::of(later)));
        }
        self.len += 1;
        None
    }

    pub fn remove(&mut self, key: &[u8]) -> Option<Arc<Entry>> {
        let (bound, run) = self.up_to_mut(key).next_back()?;
        let at = run.find(key).ok()?;
        let entries = Run::changed(run);
        let gone = entries.remove(at);
        let short = (entries.len() < FEW).then(|| bound.clone());
        self.len -= 1;
        if let Some(bound) = short {
            self.join(&bound);
        }
        Some(gone)
    }

    /// Has the run before take the entries of a short one, if it has room and there will be room then.
    fn join(&mut self, bound: &Bytes) {
        let before = (Bound::Unbounded, Bound::Excluded(&bound[..]));
        let Some(run) = self.by_bound.get(bound) else { return };
        let Some((_, to)) = self.by_bound.range::<[u8], _>(before).next_back() else { return };
        if !run.entries.is_empty() && to.entries.len() + run.entries.len() > MOST / 2 {
            return;
        }
        let Some(run) = self.by_bound.remove(bound) else { return };
        if let Some((_, to)) = self.by_bound.range_mut::<[u8], _>(before).next_back()
            && !run.entries.is_empty()
        {
            Run::changed(to).extend(run.entries.iter().cloned());
        }
    }

    /// The runs with keys up to this one.
    fn up_to(&self, key: &[u8]) -> impl DoubleEndedIterator<Item = (&Bytes, &Arc<Run>)> {
        self.by_bound.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
    }

    fn up_to_mut(&mut self, key: &[u8]) -> impl DoubleEndedIterator<Item = (&Bytes, &mut Arc<Run>)> {
        self.by_bound.range_mut::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
    }

    /// What runs have below a prefix, of it only what follows a key.
    pub fn below<'a>(&'a self, prefix: &'a [u8], after: Option<&'a [u8]>) -> impl Iterator<Item = Part<'a>> {
        let after = after.filter(|key| *key >= prefix);
        let begin = after.unwrap_or(prefix);
        let first = self.up_to(begin).next_back();
        let from = first.map_or(Bound::Unbounded, |(bound, _)| Bound::Excluded(&bound[..]));
        let behind = behind(prefix);
        let to = behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        // Who goes on behind the last of them gets none.
        let is_inside = begin.starts_with(prefix);
        let others = is_inside.then(|| self.by_bound.range::<[u8], _>((from, to))).into_iter().flatten();
        let is_before = move |entry: &Arc<Entry>| match after {
            Some(after) => entry.key[..] <= *after,
            None => entry.key[..] < *prefix,
        };
        let first = first.map(move |(_, run)| (run.entries.partition_point(is_before), run));
        let mut runs = first.into_iter().chain(others.map(|(_, run)| (0, run))).peekable();
        std::iter::from_fn(move || {
            loop {
                let (from, run) = runs.next()?;
                let entries = &run.entries[from..];
                // What comes before a run with such keys has no others: its entries need not be fetched from memory.
                let count = match runs.peek() {
                    Some(_) => entries.len(),
                    None => entries.partition_point(|entry| entry.key.starts_with(prefix)),
                };
                if count > 0 {
                    return Some(Part { run, from, count });
                }
            }
        })
    }
}

/// The first key that is behind all with a prefix, if there can be one.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

/// Entries of a run that follow each other; there is at least one.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    run: &'a Arc<Run>,
    from: usize,
    count: usize,
}

impl<'a> Part<'a> {
    pub fn entries(self) -> &'a [Arc<Entry>] {
        &self.run.entries[self.from..self.from + self.count]
    }

    /// The same, to be kept.
    pub fn section(self) -> Section {
        Section::new(Arc::clone(self.run), self.from..self.from + self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Revision;
    use std::collections::BTreeMap;

    fn entry(key: &str, at: u64) -> Arc<Entry> {
        let (key, at) = (Bytes::copy_from_slice(key.as_bytes()), Revision(at));
        Arc::new(Entry { key, value: Bytes::new(), created: at, modified: at, lease: None })
    }

    fn sections(runs: &Runs, prefix: &str) -> Vec<Section> {
        runs.below(prefix.as_bytes(), None).map(Part::section).collect()
    }

    /// Numbers that look like none.
    fn scattered(count: u64) -> impl Iterator<Item = u64> {
        (1..=count).map(|at| (at * 7_919_u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40)
    }

    #[test]
    fn runs_hold_what_a_plain_map_holds_through_puts_and_removals() {
        let (mut runs, mut plain) = (Runs::default(), BTreeMap::new());
        for (at, number) in scattered(20_000).enumerate() {
            let key = format!("/{}/{:03}", number % 7, number % 911);
            // More come than go at first, later more go than come.
            if number % 5 < if at < 10_000 { 4 } else { 1 } {
                let entry = entry(&key, at as u64);
                assert_eq!(runs.put(Arc::clone(&entry)), plain.insert(key.clone(), Arc::clone(&entry)));
                assert_eq!(runs.get(key.as_bytes()), Some(&entry));
            } else {
                assert_eq!(runs.remove(key.as_bytes()), plain.remove(&key));
                assert_eq!(runs.get(key.as_bytes()), None);
            }
            assert_eq!(runs.len(), plain.len());
            if at % 97 > 0 {
                continue;
            }
            let prefix = format!("/{}", number % 9);
            for (prefix, after) in [("", None), (&prefix[..], None), (&prefix[..], Some(&key[..]))] {
                let found = runs.below(prefix.as_bytes(), after.map(str::as_bytes)).flat_map(Part::entries);
                let all = plain.iter().filter(|(key, _)| {
                    key.starts_with(prefix) && after.is_none_or(|after| after < prefix || &key[..] > after)
                });
                assert!(found.eq(all.map(|(_, entry)| entry)), "{prefix} after {after:?}");
            }
        }
        let keys: Vec<String> = plain.keys().cloned().collect();
        keys.iter().for_each(|key| assert!(runs.remove(key.as_bytes()).is_some()));
        assert_eq!((runs.len(), runs.by_bound.len()), (0, 1), "runs that are empty are gone");
    }

    #[test]
    fn a_prefix_ends_before_the_next_key_that_has_it_not() {
        assert_eq!(behind(b"/a/"), Some(b"/a0".to_vec()));
        assert_eq!(behind(b"/a\xff\xff"), Some(b"/b".to_vec()));
        assert_eq!((behind(b""), behind(b"\xff")), (None, None), "nothing is behind");
        let mut runs = Runs::default();
        for name in ["/a", "/a/", "/a/b", "/a0", "/b"] {
            (0..2 * MOST as u64).for_each(|at| drop(runs.put(entry(&format!("{name}{at:05}"), at))));
        }
        for (prefix, count) in [("/a/", 4), ("/a/b", 2), ("/a", 8), ("/a0", 4), ("", 10), ("/c", 0)] {
            let found: usize = sections(&runs, prefix).iter().map(|section| section.entries().len()).sum();
            assert_eq!(found, count * MOST, "{prefix:?}");
        }
    }

    #[test]
    fn keys_in_their_order_fill_their_runs() {
        let mut runs = Runs::default();
        (0..10 * MOST as u64).for_each(|at| drop(runs.put(entry(&format!("{at:05}"), at))));
        assert_eq!(runs.by_bound.len(), 10);
    }

    #[test]
    fn a_write_gives_another_id_to_its_own_run_and_to_no_other() {
        let mut runs = Runs::default();
        (0..1000).for_each(|at| drop(runs.put(entry(&format!("/a/{at:05}"), at))));
        runs.put(entry("/b/x", 1000));
        let before = sections(&runs, "/a/");
        let ids = |sections: &[Section]| sections.iter().map(Section::id).collect::<Vec<_>>();
        assert_eq!(ids(&before), ids(&sections(&runs, "/a/")), "reading changes nothing");
        for (at, change) in [entry("/a/00500", 1001), entry("/a/00500x", 1002)].into_iter().enumerate() {
            let key = change.key.clone();
            let (known, held) = (sections(&runs, "/a/"), at == 0);
            let known_ids = ids(&known);
            if !held {
                drop(known);
            }
            runs.put(change);
            let after = sections(&runs, "/a/");
            let is_known = |section: &&Section| known_ids.contains(&section.id());
            let (same, changed): (Vec<_>, Vec<_>) = after.iter().partition(is_known);
            assert!(changed.len() <= 2 && same.len() + 2 >= after.len());
            assert!(changed.iter().any(|section| section.entries().iter().any(|entry| entry.key == key)));
        }
        // Who read before goes on seeing what was there.
        let old = before.iter().flat_map(Section::entries).find(|entry| &entry.key[..] == b"/a/00500");
        assert_eq!(old.unwrap().modified, Revision(500));
        assert_eq!(before.iter().map(|section| section.entries().len()).sum::<usize>(), 1000);
    }

    #[test]
    fn parts_of_one_run_have_ids_of_their_own() {
        let mut runs = Runs::default();
        for (at, key) in ["/a/1", "/a/2", "/b/1"].into_iter().enumerate() {
            runs.put(entry(key, at as u64));
        }
        let ids = ["/a/", "/b/", "/"].map(|prefix| {
            let sections = sections(&runs, prefix);
            assert_eq!(sections.len(), 1);
            sections[0].id()
        });
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }
}
