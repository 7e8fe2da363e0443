//! What a follower was told, held against what there was to tell.

use std::collections::{BTreeMap, BTreeSet};

/// Objects that are there, with their counters.
pub type Objects = BTreeMap<String, u64>;

#[derive(Default)]
pub struct Told {
    there: Objects,
    /// The greatest counter of each object, also of one that is gone.
    greatest: Objects,
    /// Every counter of which it was told as a change.
    all: BTreeSet<(String, u64)>,
    /// How often it had to begin with what is there.
    pub lists: usize,
    /// How often it asked for that, where one can see it. A list in pages may never come to its end while writers are so
    /// quick that its revision is thrown away before the last page.
    pub asked: usize,
    /// What it should not have been told.
    pub faults: Vec<String>,
}

impl Told {
    /// A change: newer than everything before.
    pub fn changed(&mut self, name: &str, counter: u64) {
        let greatest = self.greatest.get(name).copied().unwrap_or_default();
        if counter <= greatest {
            self.faults.push(format!("{name} changed to {counter} after {greatest}"));
        }
        self.there(name, counter);
        self.all.insert((name.to_owned(), counter));
    }

    /// Part of what is there: not older than anything before.
    pub fn there(&mut self, name: &str, counter: u64) {
        let greatest = self.greatest.entry(name.to_owned()).or_default();
        if counter < *greatest {
            self.faults.push(format!("{name} is {counter} after {greatest}"));
        }
        *greatest = counter.max(*greatest);
        self.there.insert(name.to_owned(), counter);
    }

    /// All of what is there; what is not among it is gone.
    pub fn listed(&mut self, objects: &Objects) {
        self.lists += 1;
        self.there.retain(|name, _| objects.contains_key(name));
        for (name, counter) in objects {
            self.there(name, *counter);
        }
    }

    /// An object is gone, which was there as it was told last.
    pub fn deleted(&mut self, name: &str, counter: u64) {
        if self.there.remove(name) != Some(counter) {
            self.faults.push(format!("{name} went as {counter}, which is not what it was"));
        }
    }

    /// An object is gone; how it went is not known to who had to list again.
    pub fn gone(&mut self, name: &str) {
        if self.there.remove(name).is_none() {
            self.faults.push(format!("{name} went, and was not there"));
        }
    }

    /// Whether it knows what is there.
    pub fn is(&self, objects: &Objects) -> Result<(), String> {
        if self.there == *objects {
            return Ok(());
        }
        let differ = |(name, counter): &(&String, &u64)| objects.get(*name) != Some(counter);
        let wrong: Vec<_> = self.there.iter().filter(differ).collect();
        Err(format!("{} of {} objects, of which {wrong:?} are not so", self.there.len(), objects.len()))
    }

    /// Who never had to list again was told of each write.
    pub fn knows_all(&self, name: &str, acknowledged: &BTreeSet<(String, u64)>) {
        assert!(self.lists <= 1, "{name} had to list {} times, though history is there", self.lists);
        let first: BTreeMap<&String, u64> =
            self.all.iter().rev().map(|(object, counter)| (object, *counter)).collect();
        let missed: Vec<_> = acknowledged
            .iter()
            .filter(|(object, counter)| first.get(object).is_some_and(|first| counter > first))
            .filter(|write| !self.all.contains(*write))
            .collect();
        assert!(missed.is_empty(), "{name} was not told of {missed:?}");
    }
}
