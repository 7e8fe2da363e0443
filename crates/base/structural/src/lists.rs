//! Lists whose items are told apart: no two may be the same (`x-kubernetes-list-type`).

use crate::schema::{ListKind, Schema};
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use serde_json::{Map, Value};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// What is twice in sets and in lists by key.
#[must_use]
pub fn duplicates(value: &Value, schema: &Schema) -> Vec<FieldCause> {
    let mut faults = Told::default();
    walk(value, schema, &Path::Root, &mut faults);
    faults.into_all()
}

fn walk(value: &Value, schema: &Schema, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    match value {
        _ if !schema.tells_apart => {}
        Value::Object(members) => {
            for (name, value) in members {
                if let Some(member) = schema.member(name) {
                    if !member.tells_apart {
                        continue;
                    }
                    let is_property = schema.properties.contains_key(name);
                    let below = if is_property { Path::Member(path, name) } else { Path::Key(path, name) };
                    walk(value, member, &below, faults);
                }
            }
        }
        Value::Array(items) => {
            list(items, schema, path, faults);
            if let Some(schema) = &schema.items {
                for (at, item) in items.iter().enumerate() {
                    walk(item, schema, &Path::Item(path, at), faults);
                }
            }
        }
        _ => {}
    }
}

fn list(items: &[Value], schema: &Schema, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    match &schema.list {
        ListKind::Atomic => {}
        ListKind::Set => twice(items.iter(), path, faults, |at| items[at].clone()),
        ListKind::Map(keys) => {
            let of_items = schema.items.as_deref();
            let told_apart_by = items.iter().map(|item| {
                keys.iter().map(|key| part_of(item, key, of_items)).collect::<Vec<Option<&Value>>>()
            });
            twice(told_apart_by, path, faults, |at| Value::Object(key_of(&items[at], keys, of_items)));
        }
    }
}

/// Tells once of each item that there is twice. Most lists have no such item, so what is told is made only for those.
fn twice<K: Eq + Hash>(
    told_apart_by: impl ExactSizeIterator<Item = K>,
    path: &Path<'_>,
    faults: &mut Told<FieldCause>,
    shown: impl Fn(usize) -> Value,
) {
    if told_apart_by.len() < 2 {
        return;
    }
    if told_apart_by.len() <= FEW {
        let all: Vec<K> = told_apart_by.collect();
        for (at, key) in all.iter().enumerate() {
            if all[..at].iter().filter(|before| *before == key).count() == 1 {
                faults.push(|| field::duplicate(Path::Item(path, at).to_string(), shown(at)));
            }
        }
        return;
    }
    // Whether it was told of each.
    let mut seen: HashMap<K, bool> = HashMap::with_capacity(told_apart_by.len());
    for (at, key) in told_apart_by.enumerate() {
        match seen.entry(key) {
            Entry::Vacant(first) => drop(first.insert(false)),
            Entry::Occupied(mut again) => {
                if !again.insert(true) {
                    faults.push(|| field::duplicate(Path::Item(path, at).to_string(), shown(at)));
                }
            }
        }
    }
}

/// The members that an item is told apart by, with the defaults of those that are absent.
fn key_of(item: &Value, keys: &[String], schema: Option<&Schema>) -> Map<String, Value> {
    let parts = keys.iter().filter_map(|key| Some((key.clone(), part_of(item, key, schema)?.clone())));
    parts.collect()
}

fn part_of<'v>(item: &'v Value, key: &str, schema: Option<&'v Schema>) -> Option<&'v Value> {
    item.get(key).or_else(|| schema?.properties.get(key)?.default.as_ref())
}

/// A value in one spelling, whatever the order of members.
pub(crate) fn spelled(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, String> =
                members.iter().map(|(name, value)| (name, spelled(value))).collect();
            format!("{sorted:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(spelled).collect::<Vec<String>>()),
        scalar => scalar.to_string(),
    }
}

/// So many items are sooner compared one by one than hashed.
const FEW: usize = 8;

/// What tells an item apart: the members of its key, as far as it has them.
type ItemKey<'v> = Vec<Option<&'v Value>>;

/// The items of an old list by what tells them apart, so that each item of a new one has its own at once: looked for one
/// by one, two lists of a hundred thousand items would take a day. Of those with one key, the first counts.
pub(crate) enum Counterparts<'v> {
    None,
    Few { keys: &'v [String], items: Vec<(ItemKey<'v>, &'v Value)> },
    Many { keys: &'v [String], items: HashMap<ItemKey<'v>, &'v Value> },
}

impl<'v> Counterparts<'v> {
    /// None but those of lists by key have any.
    pub(crate) fn of(old: Option<&'v Value>, list: &'v ListKind) -> Self {
        let (ListKind::Map(keys), Some(Value::Array(items))) = (list, old) else { return Self::None };
        let keyed = items.iter().map(|item| (item_key(item, keys), item));
        if items.len() <= FEW {
            return Self::Few { keys, items: keyed.collect() };
        }
        let mut by_key = HashMap::with_capacity(items.len());
        for (key, item) in keyed {
            by_key.entry(key).or_insert(item);
        }
        Self::Many { keys, items: by_key }
    }

    pub(crate) fn of_item(&self, item: &Value) -> Option<&'v Value> {
        match self {
            Self::None => None,
            Self::Few { keys, items } => {
                let key = item_key(item, keys);
                items.iter().find(|(known, _)| *known == key).map(|(_, old)| *old)
            }
            Self::Many { keys, items } => items.get(&item_key(item, keys)).copied(),
        }
    }
}

fn item_key<'v>(item: &'v Value, keys: &[String]) -> ItemKey<'v> {
    keys.iter().map(|key| item.get(key)).collect()
}
