//! `metadata.managedFields`: managers and their sets of fields.

use super::merge::Finder;
use super::track::Changes;
use super::{FieldSet, Step};
use crate::schema::{Shape, model};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::collections::BTreeSet;

/// How a manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By applying configurations.
    Apply,
    /// By any other write.
    Update,
}

/// Who owns fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// The name, such as `kubectl`.
    pub name: String,
    /// How it writes.
    pub operation: Operation,
    /// The version of the API it uses.
    pub api_version: String,
    /// Empty, or the subresource it writes.
    pub subresource: String,
}

impl Manager {
    pub(super) fn applying(name: &str, api_version: &str, subresource: &str) -> Self {
        Self {
            name: name.to_owned(),
            operation: Operation::Apply,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }

    pub(super) fn updating(name: &str, api_version: &str, subresource: &str) -> Self {
        Self { operation: Operation::Update, ..Self::applying(name, api_version, subresource) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    manager: Manager,
    set: FieldSet,
    time: String,
}

impl Entry {
    fn order(&self) -> (Operation, &str, &str) {
        (self.manager.operation, &self.time, &self.manager.name)
    }
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Managers {
    entries: Vec<Entry>,
}

/// Updating managers beyond these are merged, oldest first.
const UPDATERS_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// The raw entries of an object.
pub(super) fn entries(object: &Value) -> &[Value] {
    object["metadata"]["managedFields"].as_array().map_or(&[], Vec::as_slice)
}

impl Managers {
    pub(super) fn decode(object: &Value) -> Self {
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("").to_owned();
        let decode = |entry: &Value| {
            let operation = match entry["operation"].as_str()? {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            Some(Entry {
                manager: Manager {
                    name: text(entry, "manager"),
                    operation,
                    api_version: text(entry, "apiVersion"),
                    subresource: text(entry, "subresource"),
                },
                set: FieldSet::decode(&entry["fieldsV1"]),
                time: text(entry, "time"),
            })
        };
        Self { entries: entries(object).iter().filter_map(decode).collect() }
    }

    /// Writes the managers into an object, those who apply first, then by age.
    pub(super) fn encode(mut self, object: &mut Value) {
        self.entries.retain(|entry| !entry.set.is_empty());
        self.cap();
        self.entries.sort_by(|one, other| one.order().cmp(&other.order()));
        let encoded: Vec<Value> = self.entries.iter().map(encode_entry).collect();
        if !object.get("metadata").is_some_and(Value::is_object) {
            object["metadata"] = Value::Object(Map::new());
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            if encoded.is_empty() {
                metadata.remove("managedFields");
            } else {
                metadata.insert("managedFields".to_owned(), Value::Array(encoded));
            }
        }
    }

    fn cap(&mut self) {
        loop {
            let is_updater = |entry: &Entry| entry.manager.operation == Operation::Update;
            if self.entries.iter().filter(|entry| is_updater(entry)).count() <= UPDATERS_MAX {
                return;
            }
            let mut places: Vec<usize> =
                (0..self.entries.len()).filter(|at| is_updater(&self.entries[*at])).collect();
            places.sort_by(|one, other| self.entries[*one].time.cmp(&self.entries[*other].time));
            let (oldest, next) = (places[0], places[1]);
            let set = std::mem::take(&mut self.entries[oldest].set);
            self.entries[next].set.union(set);
            ANCIENT.clone_into(&mut self.entries[next].manager.name);
            self.entries.remove(oldest);
        }
    }

    /// An object that was never tracked belongs to whoever wrote it before the first application.
    pub(super) fn adopt_untracked(&mut self, live: &Value, shape: &Shape, api_version: &str, manager: &str) {
        let has_content = live.as_object().is_some_and(|map| !map.is_empty());
        if self.entries.is_empty() && has_content && manager != "before-first-apply" {
            self.entries.push(Entry {
                manager: Manager::updating("before-first-apply", api_version, ""),
                set: super::owned(shape, live, ""),
                time: String::new(),
            });
        }
    }

    /// The fields a manager owns.
    pub(super) fn set_of(&self, manager: &Manager) -> FieldSet {
        self.entries
            .iter()
            .find(|entry| is_same(&entry.manager, manager))
            .map(|entry| entry.set.clone())
            .unwrap_or_default()
    }

    /// Who owns a path.
    pub(super) fn owners(&self, path: &[Step]) -> impl Iterator<Item = &Manager> {
        self.entries.iter().filter(|entry| entry.set.has(path)).map(|entry| &entry.manager)
    }

    /// Whether anybody else owns a path or anything below.
    pub(super) fn is_owned_by_others(&self, me: &Manager, path: &[Step]) -> bool {
        self.entries.iter().any(|entry| !is_same(&entry.manager, me) && entry.set.has_below(path))
    }

    /// Takes a path from a manager.
    pub(super) fn take(&mut self, manager: &Manager, path: &[Step]) {
        for entry in self.entries.iter_mut().filter(|entry| entry.manager == *manager) {
            entry.set.remove(path);
        }
    }

    /// Takes what a write has changed from all but `me`, and what is gone from all; where a version is given, from those
    /// alone who write in it.
    pub(super) fn lose(&mut self, version: Option<&str>, me: Option<&Manager>, changes: &Changes) {
        let is_in = |entry: &&mut Entry| version.is_none_or(|version| entry.manager.api_version == version);
        let paths = OnceCell::new();
        for entry in self.entries.iter_mut().filter(is_in) {
            changes.gone.iter().for_each(|path| entry.set.remove_below(path));
            if me.is_none_or(|me| !is_same(&entry.manager, me)) {
                let paths = paths.get_or_init(|| changes.changed.paths());
                paths.iter().for_each(|path| entry.set.remove(path));
            }
        }
    }

    /// Forgets managers.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&Manager) -> bool) {
        self.entries.retain(|entry| is_kept(&entry.manager));
    }

    /// The versions in which they write.
    pub(super) fn versions(&self) -> BTreeSet<String> {
        self.entries.iter().map(|entry| entry.manager.api_version.clone()).collect()
    }

    /// The version in which a manager wrote last.
    pub(super) fn version_of(&self, manager: &Manager) -> Option<String> {
        let entry = self.entries.iter().find(|entry| is_same(&entry.manager, manager));
        entry.map(|entry| entry.manager.api_version.clone())
    }

    /// All but one, with what they own.
    pub(super) fn others(&self, me: &Manager) -> impl Iterator<Item = (&Manager, &FieldSet)> {
        let others = self.entries.iter().filter(move |entry| !is_same(&entry.manager, me));
        others.map(|entry| (&entry.manager, &entry.set))
    }

    /// What all who write in a version own.
    pub(super) fn set_in(&self, version: &str) -> FieldSet {
        let mut all = FieldSet::default();
        let of_version = self.entries.iter().filter(|entry| entry.manager.api_version == version);
        of_version.for_each(|entry| all.union(entry.set.clone()));
        all
    }

    /// Notes that a manager has changed something.
    pub(super) fn touch(&mut self, manager: &Manager, now: Timestamp) {
        for entry in self.entries.iter_mut().filter(|entry| is_same(&entry.manager, manager)) {
            entry.time = hako_kube::time::seconds(now);
        }
    }

    /// Sets what a manager owns; the time moves on if that or the object changed.
    pub(super) fn set(&mut self, manager: Manager, set: FieldSet, has_changed: bool, now: Timestamp) {
        let time = hako_kube::time::seconds(now);
        match self.entries.iter_mut().find(|entry| is_same(&entry.manager, &manager)) {
            Some(entry) => {
                if has_changed || entry.set != set {
                    entry.time = time;
                }
                entry.manager = manager;
                entry.set = set;
            }
            None => self.entries.push(Entry { manager, set, time }),
        }
    }

    /// Adds what a manager has changed to what it owns.
    pub(super) fn add(&mut self, manager: Manager, set: FieldSet, now: Timestamp) {
        let time = hako_kube::time::seconds(now);
        match self.entries.iter_mut().find(|entry| is_same(&entry.manager, &manager)) {
            Some(entry) => {
                entry.time = time;
                entry.set.union(set);
            }
            None => self.entries.push(Entry { manager, set, time }),
        }
    }

    /// Forgets fields that the object no longer has.
    pub(super) fn drop_missing(&mut self, shape: &Shape, object: &Value) {
        Self::drop_missing_of(self.entries.iter_mut(), shape, object);
    }

    /// The same of those who write in a version, in which the object is.
    pub(super) fn drop_missing_in(&mut self, version: &str, shape: &Shape, object: &Value) {
        let of_version = self.entries.iter_mut().filter(|entry| entry.manager.api_version == version);
        Self::drop_missing_of(of_version, shape, object);
    }

    fn drop_missing_of<'a>(entries: impl Iterator<Item = &'a mut Entry>, shape: &Shape, object: &Value) {
        let (model, finder) = (model(), Finder::default());
        for entry in entries {
            for path in entry.set.paths() {
                if finder.find(model, shape, object, &path).is_none() {
                    entry.set.remove(&path);
                }
            }
        }
    }
}

/// A manager that applies stays itself when it moves to another version.
fn is_same(one: &Manager, other: &Manager) -> bool {
    let has_same_version = one.operation == Operation::Apply || one.api_version == other.api_version;
    has_same_version
        && one.name == other.name
        && one.operation == other.operation
        && one.subresource == other.subresource
}

fn encode_entry(entry: &Entry) -> Value {
    let operation = match entry.manager.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut map = Map::with_capacity(7);
    let mut put = |name: &str, value: Value| drop(map.insert(name.to_owned(), value));
    put("manager", entry.manager.name.as_str().into());
    put("operation", operation.into());
    put("apiVersion", entry.manager.api_version.as_str().into());
    if !entry.time.is_empty() {
        put("time", entry.time.as_str().into());
    }
    put("fieldsType", "FieldsV1".into());
    put("fieldsV1", entry.set.encode());
    if !entry.manager.subresource.is_empty() {
        put("subresource", entry.manager.subresource.as_str().into());
    }
    Value::Object(map)
}
