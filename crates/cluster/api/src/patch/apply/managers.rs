//! `metadata.managedFields`: managers and their sets of fields.

use super::compare::Changes;
use super::conflict::Conflict;
use super::{FieldSet, Reach, Record};
use crate::schema::{Shape, encode, model};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How a manager writes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
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
    fn order(&self) -> (Operation, &str, &str, &str, &str) {
        let Manager { name, operation, api_version, subresource } = &self.manager;
        (*operation, &self.time, name, api_version, subresource)
    }
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Managers {
    entries: Vec<Entry>,
}

/// Updating managers beyond these are merged, oldest first.
const UPDATERS_MAX: usize = 10;
/// Bytes that they take, mostly.
const ROOM: usize = 1024;
pub(super) const ANCIENT: &str = "ancient-changes";

/// What they are called in the metadata.
pub(super) const NAME: &str = "managedFields";

/// The raw entries of an object.
pub(super) fn entries(object: &Value) -> &[Value] {
    items(&object["metadata"][NAME])
}

/// The raw entries of a list.
pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// An entry that is as they are written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<'t> {
    #[serde(default)]
    manager: String,
    operation: Operation,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    subresource: String,
    #[serde(borrow)]
    fields_v1: Option<&'t RawValue>,
}

impl From<Written<'_>> for Entry {
    fn from(written: Written<'_>) -> Self {
        let Written { manager: name, operation, api_version, time, subresource, fields_v1 } = written;
        let set = fields_v1.map_or_else(FieldSet::default, |fields| FieldSet::read(fields.get()));
        Self { manager: Manager { name, operation, api_version, subresource }, set, time }
    }
}

impl Managers {
    pub(super) fn decode(object: &Value) -> Self {
        Self::of(entries(object))
    }

    /// Those that a record names.
    pub(super) fn read(record: &Record) -> Self {
        let Some(text) = record.text().and_then(|text| str::from_utf8(text).ok()) else {
            return Self::default();
        };
        match serde_json::from_str::<Vec<Written<'_>>>(text) {
            Ok(entries) => Self { entries: entries.into_iter().map(Entry::from).collect() },
            // What is wrong with one of them is its own.
            Err(_) => record.value().map_or_else(Self::default, |list| Self::of(items(&list))),
        }
    }

    /// Those of raw entries.
    pub(super) fn of(entries: &[Value]) -> Self {
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
        Self { entries: entries.iter().filter_map(decode).collect() }
    }

    /// As they are written: those who apply first, then by age.
    fn settle(&mut self) {
        self.entries.retain(|entry| !entry.set.is_empty());
        self.cap();
        self.entries.sort_by(|one, other| one.order().cmp(&other.order()));
    }

    /// Writes the managers down.
    pub(super) fn write(mut self) -> Record {
        self.settle();
        if self.entries.is_empty() {
            return Record::default();
        }
        let mut text = Vec::with_capacity(ROOM);
        let mut open = b'[';
        for entry in &self.entries {
            text.push(std::mem::replace(&mut open, b','));
            write_entry(&mut text, entry);
        }
        text.push(b']');
        Record::of(text.into())
    }

    /// Writes the managers into an object.
    pub(super) fn encode(mut self, object: &mut Value) {
        self.settle();
        let encoded: Vec<Value> = self.entries.iter().map(encode_entry).collect();
        if !object.get("metadata").is_some_and(Value::is_object) {
            object["metadata"] = Value::Object(Map::new());
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            if encoded.is_empty() {
                metadata.remove(NAME);
            } else {
                metadata.insert(NAME.to_owned(), Value::Array(encoded));
            }
        }
    }

    /// Unites the oldest updaters, those of each version, until there are few enough.
    fn cap(&mut self) {
        let is_updater = |entry: &Entry| entry.manager.operation == Operation::Update;
        let mut count = self.entries.iter().filter(|entry| is_updater(entry)).count();
        if count <= UPDATERS_MAX {
            return;
        }
        self.entries.sort_by(|one, other| one.order().cmp(&other.order()));
        let mut kept: Vec<Entry> = Vec::with_capacity(self.entries.len());
        let mut of_version: BTreeMap<String, usize> = BTreeMap::new();
        for entry in std::mem::take(&mut self.entries) {
            let is_old = is_updater(&entry) && count > UPDATERS_MAX;
            match of_version.get(&entry.manager.api_version).and_then(|at| kept.get_mut(*at)) {
                Some(ancient) if is_old => {
                    ancient.manager = Manager::updating(ANCIENT, &entry.manager.api_version, "");
                    ancient.set.union(entry.set);
                    ancient.time = entry.time;
                    count -= 1;
                }
                None if is_old => {
                    of_version.insert(entry.manager.api_version.clone(), kept.len());
                    kept.push(entry);
                }
                _ => kept.push(entry),
            }
        }
        self.entries = kept;
    }

    /// Brings what they own in accord with the types as they are now, each in its version.
    pub(super) fn reconcile<'a>(&mut self, shape: impl Fn(&str) -> Option<&'a Shape>) {
        for entry in &mut self.entries {
            if let Some(shape) = shape(&entry.manager.api_version) {
                entry.set.reconcile(model(), shape);
            }
        }
    }

    /// An object that was never tracked belongs to whoever wrote it before the first application.
    pub(super) fn adopt_untracked(&mut self, request: &super::Apply<'_>, live: &Value) {
        if self.entries.is_empty() {
            let set = Changes::of(request.shape, &json!({}), live).within(Reach::AllButStatus).changed;
            let manager = Manager::updating("before-first-apply", request.api_version, "");
            self.entries.push(Entry { manager, set, time: hako_kube::time::seconds(request.now) });
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

    /// Takes what a write has changed, and what is gone, from those who write in a version; from those of all versions
    /// where none is given.
    pub(super) fn lose(&mut self, version: Option<&str>, but: Option<&Manager>, changes: &Changes) {
        for entry in &mut self.entries {
            let is_in = version.is_none_or(|version| entry.manager.api_version == version);
            if is_in && but.is_none_or(|but| !is_same(&entry.manager, but)) {
                entry.set.subtract_below(&changes.gone);
                entry.set.subtract(&changes.changed);
            }
        }
    }

    /// What others own that a write has changed: those who write in a version, or all.
    pub(super) fn conflicts(&self, version: Option<&str>, me: &Manager, changes: &Changes) -> Vec<Conflict> {
        let mut found = Vec::new();
        for Entry { manager, set, .. } in &self.entries {
            let is_in = version.is_none_or(|version| manager.api_version == version);
            if is_in && !is_same(manager, me) {
                let paths = set.intersection(&changes.changed).paths();
                found.extend(paths.into_iter().map(|path| Conflict { manager: manager.clone(), path }));
            }
        }
        found
    }

    /// Whether a manager owns all of a set.
    pub(super) fn has_all(&self, manager: &Manager, set: &FieldSet) -> bool {
        set.difference(&self.set_of(manager)).is_empty()
    }

    /// What anybody owns.
    pub(super) fn all(&self) -> FieldSet {
        let mut all = FieldSet::default();
        self.entries.iter().for_each(|entry| all.union(entry.set.clone()));
        all
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

    /// Sets what a manager owns.
    pub(super) fn set(&mut self, manager: Manager, set: FieldSet) {
        match self.entries.iter_mut().find(|entry| is_same(&entry.manager, &manager)) {
            Some(entry) => (entry.manager, entry.set) = (manager, set),
            None => self.entries.push(Entry { manager, set, time: String::new() }),
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
}

/// A manager that applies stays itself when it moves to another version.
fn is_same(one: &Manager, other: &Manager) -> bool {
    let has_same_version = one.operation == Operation::Apply || one.api_version == other.api_version;
    has_same_version
        && one.name == other.name
        && one.operation == other.operation
        && one.subresource == other.subresource
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

fn write_entry(out: &mut Vec<u8>, entry: &Entry) {
    let Manager { name, operation, api_version, subresource } = &entry.manager;
    let mut open = b'{';
    let mut put = |out: &mut Vec<u8>, name: &str, text: &str| {
        out.push(std::mem::replace(&mut open, b','));
        encode::text(out, name);
        out.push(b':');
        encode::text(out, text);
    };
    put(out, "manager", name);
    put(out, "operation", operation.name());
    put(out, "apiVersion", api_version);
    if !entry.time.is_empty() {
        put(out, "time", &entry.time);
    }
    put(out, "fieldsType", "FieldsV1");
    out.extend_from_slice(b",\"fieldsV1\":");
    entry.set.write(out);
    if !subresource.is_empty() {
        put(out, "subresource", subresource);
    }
    out.push(b'}');
}

fn encode_entry(entry: &Entry) -> Value {
    let operation = entry.manager.operation.name();
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
