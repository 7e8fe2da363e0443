//! Places of requests that last: watches, logs, sessions.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::auth::Identity;

/// The places there are, of all clients and of each.
#[derive(Clone, Debug)]
pub(crate) struct LongPlaces(Arc<Places>);

#[derive(Debug)]
struct Places {
    total: usize,
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_user: HashMap<String, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct LongPlace {
    places: Arc<Places>,
    user: String,
}

impl LongPlaces {
    pub(crate) fn new(total: usize, each: usize) -> Self {
        Self(Arc::new(Places { total, each, taken: Mutex::default() }))
    }

    /// A place for a request of somebody. Administrators have as many as there are.
    pub(crate) fn take(&self, identity: &Identity) -> Option<LongPlace> {
        let mut taken = self.0.taken.lock();
        if taken.all >= self.0.total {
            return None;
        }
        let of_user = taken.by_user.entry(identity.user.clone()).or_default();
        if *of_user >= self.0.each && !identity.is_master() {
            return None;
        }
        *of_user += 1;
        taken.all += 1;
        Some(LongPlace { places: Arc::clone(&self.0), user: identity.user.clone() })
    }
}

impl Drop for LongPlace {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Some(count) = taken.by_user.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                taken.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_administrators_takes_more_than_their_part() {
        let places = LongPlaces::new(5, 2);
        let jane = Identity::new("jane", &[]);
        let mut held: Vec<_> = (0..2).map(|_| places.take(&jane).unwrap()).collect();
        assert!(places.take(&jane).is_none());
        held.extend((0..3).map(|_| places.take(&Identity::admin()).unwrap()));
        assert!(places.take(&Identity::admin()).is_none(), "there are no more");
        held.pop();
        assert!(places.take(&jane).is_none());
        held.clear();
        assert!(places.take(&jane).is_some());
        assert!(places.0.taken.lock().by_user.is_empty(), "who has none is forgotten");
    }
}
