//! What was written and is not in the cache yet, so that a stale cache never leads to doing it twice.

use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// A pod that never shows up (made and removed at once) is forgotten after this.
const FORGET_AFTER: Duration = Duration::from_secs(30);

/// By the set's uid.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    by_set: Mutex<HashMap<String, Pending>>,
}

/// Names of pods with the time they were written.
#[derive(Debug, Default)]
struct Pending {
    created: BTreeMap<String, Instant>,
    deleted: BTreeMap<String, Instant>,
}

impl Expectations {
    pub(super) fn created(&self, set: &str, pod: &str) {
        self.by_set.lock().entry(set.to_owned()).or_default().created.insert(pod.to_owned(), Instant::now());
    }

    pub(super) fn deleted(&self, set: &str, pod: &str) {
        self.by_set.lock().entry(set.to_owned()).or_default().deleted.insert(pod.to_owned(), Instant::now());
    }

    pub(super) fn forget(&self, set: &str) {
        self.by_set.lock().remove(set);
    }

    /// Compares with the cache's active pods: how many are still to appear, and which of the shown are gone in truth.
    pub(super) fn settle(&self, set: &str, is_shown: impl Fn(&str) -> bool) -> (usize, Vec<String>) {
        let mut by_set = self.by_set.lock();
        let Some(pending) = by_set.get_mut(set) else {
            return (0, Vec::new());
        };
        let is_fresh = |at: &Instant| at.elapsed() < FORGET_AFTER;
        pending.created.retain(|pod, at| !is_shown(pod) && is_fresh(at));
        pending.deleted.retain(|pod, at| is_shown(pod) && is_fresh(at));
        let settled = (pending.created.len(), pending.deleted.keys().cloned().collect());
        if pending.created.is_empty() && pending.deleted.is_empty() {
            by_set.remove(set);
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cache_shows_is_no_longer_expected() {
        let expectations = Expectations::default();
        expectations.created("s", "a");
        expectations.created("s", "b");
        expectations.deleted("s", "c");
        assert_eq!(expectations.settle("s", |pod| pod == "a" || pod == "c"), (1, vec!["c".to_owned()]));
        assert_eq!(expectations.settle("s", |pod| pod == "b"), (0, Vec::new()));
        assert!(expectations.by_set.lock().is_empty());
    }
}
