//! Orders the items of a list that two sides know.

use std::collections::HashMap;
use std::hash::Hash;

/// `items` with those of `wanted` in that order, and all others where `before` had them relative to these; new items
/// at the end come last.
pub(super) fn interleave<T, K: Eq + Hash>(
    items: Vec<T>,
    id: impl Fn(&T) -> K,
    wanted: &[K],
    before: &[K],
) -> Vec<T> {
    let (wanted, before) = (places(wanted), places(before));
    let place = |key: &K, places: &HashMap<&K, usize>| places.get(key).copied();
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for item in items {
        match place(&id(&item), &wanted) {
            Some(at) => ours.push((at, item)),
            None => others.push(item),
        }
    }
    ours.sort_by_key(|(at, _)| *at);
    let mut result = Vec::with_capacity(ours.len() + others.len());
    let mut others = others.into_iter().peekable();
    let last_known = ours.iter().rposition(|(_, item)| place(&id(item), &before).is_some());
    for (index, (_, item)) in ours.into_iter().enumerate() {
        if last_known.is_none_or(|last| index > last) {
            result.extend(others.by_ref());
        }
        if let Some(at) = place(&id(&item), &before) {
            while let Some(other) =
                others.next_if(|other| place(&id(other), &before).is_some_and(|it| it < at))
            {
                result.push(other);
            }
        }
        result.push(item);
    }
    result.extend(others);
    result
}

/// Where each key is first: looked for one by one, a hundred thousand items would take hours.
pub(super) fn places<K: Eq + Hash>(keys: &[K]) -> HashMap<&K, usize> {
    let mut places = HashMap::with_capacity(keys.len());
    for (at, key) in keys.iter().enumerate() {
        places.entry(key).or_insert(at);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_keep_their_place() {
        let order =
            |items: &[u8], wanted: &[u8], before: &[u8]| interleave(items.to_vec(), |it| *it, wanted, before);
        assert_eq!(order(&[1, 9, 2], &[2, 1], &[1, 9, 2]), [9, 2, 1]);
        assert_eq!(order(&[1, 2, 9], &[1, 3, 2], &[1, 2, 9]), [1, 2, 9]);
        assert_eq!(order(&[9, 1], &[1], &[9, 1]), [9, 1]);
        assert_eq!(order(&[1], &[], &[]), [1]);
        assert_eq!(order(&[9, 1], &[1], &[9]), [9, 1]);
    }
}
