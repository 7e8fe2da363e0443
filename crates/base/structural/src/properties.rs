//! The members that a schema describes. An object is looked up in them several times on its way: by the order of names, as a
//! tree would have it, each of its members took half a dozen comparisons a time.

use crate::schema::Schema;

/// Schemas by name, in the order of names.
///
/// INVARIANT: a name is compared with at most the logarithm of all names, whoever chose them.
#[derive(Clone, Debug, Default)]
pub struct Properties {
    all: Box<[(String, Schema)]>,
    /// Places in `all`, those of one slot together and in the order of names.
    places: Box<[u32]>,
    /// Where in `places` those of each slot begin, and the end; the number of slots is a power of two.
    slots: Box<[u32]>,
    /// Those with a default.
    defaulted: Box<[u32]>,
}

impl Properties {
    /// The schema of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Schema> {
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

    /// Whether a member is described.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Schema)> {
        self.all.iter().map(|(name, schema)| (name, schema))
    }

    /// Those with a default.
    pub(crate) fn defaulted(&self) -> impl ExactSizeIterator<Item = (&String, &Schema)> {
        self.defaulted.iter().map(|place| {
            let (name, schema) = &self.all[*place as usize];
            (name, schema)
        })
    }

    pub fn values(&self) -> impl Iterator<Item = &Schema> {
        self.all.iter().map(|(_, schema)| schema)
    }
}

/// Of names that are given twice, the last.
impl FromIterator<(String, Schema)> for Properties {
    fn from_iter<T: IntoIterator<Item = (String, Schema)>>(all: T) -> Self {
        let sorted: std::collections::BTreeMap<String, Schema> = all.into_iter().collect();
        let all: Box<[(String, Schema)]> = sorted.into_iter().collect();
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
        let has_default = |place: &u32| all[*place as usize].1.default.is_some();
        let defaulted = (0..all.len() as u32).filter(has_default).collect();
        Self { places, slots, defaulted, all }
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
    use crate::schema::Ty;

    #[test]
    fn each_name_finds_its_own_schema_and_others_none() {
        let names =
            ["", "a", "ab", "abc", "name", "port", "protocol", "targetPort", "overrides", "é", "replicas"];
        let long = |at: usize| format!("begin---{at}---ending");
        for count in [0, 1, 2, 11, 2000] {
            let all: Vec<String> = (0..count)
                .map(|at| names.get(at).map_or_else(|| long(at), |name| (*name).to_owned()))
                .collect();
            let titled = |name: &String| Schema {
                ty: Some(Ty::String),
                rules: Vec::new(),
                default: Some(name.as_str().into()),
                ..Schema::default()
            };
            let properties: Properties = all.iter().rev().map(|name| (name.clone(), titled(name))).collect();
            for name in &all {
                assert_eq!(
                    properties.get(name).unwrap().default,
                    Some(name.as_str().into()),
                    "{name:?} of {count}"
                );
            }
            for other in ["b", "ba", "nam", "replica", "begin---2000---ending", "begin---12---endinG"] {
                assert!(!properties.contains_key(other), "{other} of {count}");
            }
            let told: Vec<&String> = properties.iter().map(|(name, _)| name).collect();
            assert!(told.is_sorted() && told.len() == count);
        }
    }

    #[test]
    fn of_a_name_that_is_given_twice_the_last_schema_counts() {
        let of = |ty| ("a".to_owned(), Schema { ty: Some(ty), ..Schema::default() });
        let properties: Properties = [of(Ty::String), of(Ty::Array)].into_iter().collect();
        assert_eq!(properties.get("a").unwrap().ty, Some(Ty::Array));
        assert_eq!(properties.values().count(), 1);
    }
}
