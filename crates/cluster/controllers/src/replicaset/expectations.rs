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

    /// Compares with the cache: how many pods are still to appear, and which of the active ones are gone in truth.
    ///
    /// A pod that was made has appeared even if what the cache shows of it is its end.
    pub(super) fn settle(
        &self,
        set: &str,
        is_known: impl Fn(&str) -> bool,
        is_active: impl Fn(&str) -> bool,
    ) -> (usize, Vec<String>) {
        let mut by_set = self.by_set.lock();
        let Some(pending) = by_set.get_mut(set) else {
            return (0, Vec::new());
        };
        let is_fresh = |at: &Instant| at.elapsed() < FORGET_AFTER;
        pending.created.retain(|pod, at| !is_known(pod) && is_fresh(at));
        pending.deleted.retain(|pod, at| is_active(pod) && is_fresh(at));
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
        let shown = |pod: &str| pod == "a" || pod == "c";
        assert_eq!(expectations.settle("s", shown, shown), (1, vec!["c".to_owned()]));
        // `b` came and is on its way out already: it is not awaited any more.
        assert_eq!(expectations.settle("s", |pod| pod == "b", |_| false), (0, Vec::new()));
        assert!(expectations.by_set.lock().is_empty());
    }
}
