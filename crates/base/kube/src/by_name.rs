//! Things by name that are looked up far more often than they are made.

use std::collections::BTreeMap;

/// Things by name, in the order of names. The members of each object that is written are looked up in its schema, again and
/// again: a tree takes half a dozen comparisons a time, and a hash that withstands strangers as long as those.
///
/// INVARIANT: a name is compared with at most the logarithm of all names, whoever chose them.
#[derive(Clone, Debug)]
pub struct ByName<T> {
    all: Box<[(String, T)]>,
    /// Places in `all`, those of one slot together and in the order of names.
    places: Box<[u32]>,
    /// Where in `places` those of each slot begin, and the end; the number of slots is a power of two.
    slots: Box<[u32]>,
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self { all: Box::default(), places: Box::default(), slots: Box::default() }
    }
}

impl<T> ByName<T> {
    /// What has a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        let mask = self.slots.len().checked_sub(2)?;
        let slot = mixed(name) & mask;
        let (from, until) = (self.slots[slot] as usize, self.slots[slot + 1] as usize);
        let places = &self.places[from..until];
        let of = |place: &u32| &self.all[*place as usize];
        let at = match places {
            [] => return None,
            [only] => (of(only).0 == name).then_some(only),
            _ => {
                let found = places.binary_search_by(|place| of(place).0.as_str().cmp(name));
                found.ok().map(|at| &places[at])
            }
        };
        at.map(|place| &of(place).1)
    }

    /// Whether something has a name.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// One by its place in the order of names.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<(&String, &T)> {
        self.all.get(place).map(|(name, one)| (name, one))
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&String, &T)> {
        self.all.iter().map(|(name, one)| (name, one))
    }

    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.all.iter().map(|(_, one)| one)
    }
}

/// Of a name that is given twice, the last counts.
impl<T> FromIterator<(String, T)> for ByName<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(all: I) -> Self {
        let sorted: BTreeMap<String, T> = all.into_iter().collect();
        let all: Box<[(String, T)]> = sorted.into_iter().collect();
        if all.is_empty() {
            return Self::default();
        }
        let count = (2 * all.len()).next_power_of_two();
        let slot_of = |place: &u32| mixed(&all[*place as usize].0) & (count - 1);
        let mut places: Box<[u32]> = (0..all.len() as u32).collect();
        // Those of one slot stay in the order of names.
        places.sort_by_key(slot_of);
        let begins = |slot| places.partition_point(|place| slot_of(place) < slot) as u32;
        let slots = (0..=count).map(begins).collect();
        Self { places, slots, all }
    }
}

/// What spreads names over slots: their length, beginning and end.
fn mixed(name: &str) -> usize {
    let bytes = name.as_bytes();
    let (first, last) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
            }
            _ => bytes.iter().fold((0, 0), |(all, _), byte| (all << 8 | u64::from(*byte), 0)),
        },
    };
    let mixed = (first ^ last.rotate_left(29) ^ (bytes.len() as u64).rotate_left(57))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_finds_its_own_and_others_nothing() {
        let names =
            ["", "a", "ab", "abc", "name", "port", "protocol", "targetPort", "overrides", "é", "replicas"];
        let long = |at: usize| format!("begin---{at}---ending");
        for count in [0, 1, 2, 11, 2000] {
            let all: Vec<String> = (0..count)
                .map(|at| names.get(at).map_or_else(|| long(at), |name| (*name).to_owned()))
                .collect();
            let by_name: ByName<String> = all.iter().rev().map(|name| (name.clone(), name.clone())).collect();
            for name in &all {
                assert_eq!(by_name.get(name), Some(name), "{count}");
            }
            for other in ["b", "ba", "nam", "replica", "begin---2000---ending", "begin---12---endinG"] {
                assert!(!by_name.contains_key(other), "{other} of {count}");
            }
            assert!(by_name.values().is_sorted() && by_name.iter().len() == count);
        }
    }

    #[test]
    fn of_a_name_that_is_given_twice_the_last_counts() {
        let by_name: ByName<u8> = [("a".to_owned(), 1), ("a".to_owned(), 2)].into_iter().collect();
        assert_eq!((by_name.get("a"), by_name.len()), (Some(&2), 1));
    }
}
