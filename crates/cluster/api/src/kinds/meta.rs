//! What holds for the metadata of every kind.

use super::row::PartWrite;
use super::value::{at, members, number, text};
use hako_kube::{
    field::{self, Faults},
    names,
};
use serde_json::{Value, json};
use std::collections::HashSet;

const ANNOTATIONS_MAX: usize = 256 << 10;

/// What is wrong with a name, nothing if it is sound.
pub(super) type NameFaults = fn(&str) -> Vec<String>;

/// In what the metadata of kinds differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub is_namespaced: bool,
    pub name_faults: NameFaults,
    /// Whether finalizers have to be those of the core or in somebody's domain: kinds that are not of the core do not
    /// ask for that.
    pub are_finalizers_qualified: bool,
}

/// All faults of the metadata of an object.
pub(super) fn validate(object: &Value, rules: Rules) -> Faults {
    let Rules { is_namespaced, name_faults, are_finalizers_qualified } = rules;
    let mut causes = Faults::new();
    let name = text(object, &["metadata", "name"]);
    prefix(name_faults, text(object, &["metadata", "generateName"]), &mut causes);
    if name.is_empty() {
        causes.push(field::required("metadata.name", "name or generateName is required"));
    } else {
        let of = |fault: String| field::invalid("metadata.name", name, &fault);
        causes.extend(name_faults(name).into_iter().map(of));
    }
    let namespace = text(object, &["metadata", "namespace"]);
    match (is_namespaced, namespace.is_empty()) {
        (true, true) => causes.push(field::required("metadata.namespace", "")),
        (true, false) => {
            let of = |fault: String| field::invalid("metadata.namespace", namespace, &fault);
            causes.extend(names::dns_label(namespace).into_iter().map(of));
        }
        (false, false) => causes.push(field::forbidden("metadata.namespace", "not allowed on this type")),
        (false, true) => {}
    }
    labels(object, &["metadata", "labels"], "metadata.labels", &mut causes);
    annotations(object, "metadata.annotations", &mut causes);
    finalizers(object, are_finalizers_qualified, &mut causes);
    owners(object, &mut causes);
    causes
}

/// Faults of what a name is made of: it may end in a dash, as something comes after it.
fn prefix(name_faults: NameFaults, prefix: &str, causes: &mut Faults) {
    if prefix.is_empty() {
        return;
    }
    let name = match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => prefix.to_owned(),
    };
    let of = |fault: String| field::invalid("metadata.generateName", prefix, &fault);
    causes.extend(name_faults(&name).into_iter().map(of));
}

/// Faults of the labels at a path.
pub(super) fn labels(object: &Value, path: &[&str], field_path: &str, causes: &mut Faults) {
    for (key, value) in members(object, path) {
        let of = |fault: String| field::invalid(field_path, key.as_str(), &fault);
        causes.extend(names::qualified_name(key).into_iter().map(of));
        let value = value.as_str().unwrap_or("");
        let of = |fault: String| field::invalid(field_path, value, &fault);
        causes.extend(names::label_value(value).into_iter().map(of));
    }
}

/// Faults of the annotations of an object or template.
pub(super) fn annotations(object: &Value, path: &str, causes: &mut Faults) {
    let mut size = 0;
    for (key, value) in members(object, &["metadata", "annotations"]) {
        size += key.len() + value.as_str().unwrap_or("").len();
        let of = |fault: String| field::invalid(path, key.as_str(), &fault);
        causes.extend(names::qualified_name(&key.to_lowercase()).into_iter().map(of));
    }
    if size > ANNOTATIONS_MAX {
        causes.push(field::too_long(path, ANNOTATIONS_MAX));
    }
}

fn finalizers(object: &Value, are_qualified: bool, causes: &mut Faults) {
    const PATH: &str = "metadata.finalizers";
    let list = super::value::items(object, &["metadata", "finalizers"]);
    for (index, finalizer) in list.iter().enumerate() {
        let name = finalizer.as_str().unwrap_or("");
        if are_qualified {
            self::finalizer(name, PATH, &field::index(PATH, index), causes);
        } else {
            causes.extend(names::qualified_name(name).iter().map(|fault| field::invalid(PATH, name, fault)));
        }
    }
    if ["orphan", "foregroundDeletion"].iter().all(|name| list.iter().any(|it| it == name)) {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        causes.push(field::invalid(PATH, list, detail));
    }
}

/// Faults of the name of a finalizer. The original names the list where the syntax is faulty, else the item.
pub(super) fn finalizer(name: &str, list: &str, path: &str, causes: &mut Faults) {
    causes.extend(names::qualified_name(name).iter().map(|fault| field::invalid(list, name, fault)));
    let is_known = matches!(name, "foregroundDeletion" | "orphan" | "kubernetes");
    if !name.contains('/') && !is_known {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        causes.push(field::invalid(path, name, detail));
    }
}

/// The original names the list and not which of its items.
fn owners(object: &Value, causes: &mut Faults) {
    const PATH: &str = "metadata.ownerReferences";
    let list = super::value::items(object, &["metadata", "ownerReferences"]);
    let (mut controller, mut is_told): (Option<String>, bool) = (None, false);
    for owner in list {
        for (name, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(owner, &[name]).is_empty() {
                causes.push(field::invalid(field::child(PATH, name), "", detail));
            }
        }
        let (version, kind) = (text(owner, &["apiVersion"]), text(owner, &["kind"]));
        if version == "v1" && kind == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            causes.push(field::invalid(PATH, owner.clone(), detail));
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let this = format!("{kind}/{}", text(owner, &["name"]));
            let Some(first) = &controller else {
                controller = Some(this);
                continue;
            };
            let detail = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
            );
            // Once: the fault shows the whole list, and there may be as many as it has items.
            if !std::mem::replace(&mut is_told, true) {
                causes.push(field::invalid(PATH, list, &detail));
            }
        }
    }
}

/// Faults of a change of metadata.
pub(super) fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    for name in ["name", "namespace", "uid", "creationTimestamp"] {
        changed(new, old, name, "field is immutable", &mut causes);
    }
    for name in ["deletionGracePeriodSeconds", "deletionTimestamp"] {
        changed(new, old, name, "field is immutable; may only be changed via deletion", &mut causes);
    }
    if at(old, &["metadata", "deletionTimestamp"]).is_some() {
        let had = super::value::items(old, &["metadata", "finalizers"]);
        let has = super::value::items(new, &["metadata", "finalizers"]);
        let had: HashSet<&Value> = had.iter().collect();
        let added: Vec<&str> = has.iter().filter(|it| !had.contains(it)).filter_map(Value::as_str).collect();
        if !added.is_empty() {
            causes.push(field::forbidden(
                "metadata.finalizers",
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
                ),
            ));
        }
    }
    causes
}

/// A fault if a member of the metadata is another one.
fn changed(new: &Value, old: &Value, name: &str, detail: &str, causes: &mut Faults) {
    let (is, was) = (at(new, &["metadata", name]), at(old, &["metadata", name]));
    if is != was {
        let value = is.cloned().unwrap_or(Value::Null);
        causes.push(field::invalid(field::child("metadata", name), value, detail));
    }
}

/// Drops the status and starts counting generations.
pub(super) fn start(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    map.remove("status");
    set_generation(object, 1);
}

/// Keeps the old status, counts a generation if anything but metadata and status changed.
pub(super) fn keep_status(new: &mut Value, old: &Value) {
    if let Some(map) = new.as_object_mut() {
        match old.get("status") {
            Some(status) => map.insert("status".to_owned(), status.clone()),
            None => map.remove("status"),
        };
    }
    count_generation(new, old);
}

/// Drops the status of a kind without generations.
pub(super) fn start_uncounted(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    no_generation(object);
}

/// Keeps the old status of a kind without generations.
pub(super) fn keep_status_uncounted(new: &mut Value, old: &Value) {
    keep_status(new, old);
    no_generation(new);
}

/// Counts a generation if anything but metadata and status changed, or deletion began.
pub(super) fn count_generation(new: &mut Value, old: &Value) {
    let generation = number(old, &["metadata", "generation"]).unwrap_or(0);
    let has_changed = new.get("spec") != old.get("spec");
    set_generation(new, generation + i64::from(has_changed));
}

/// For kinds without generations.
pub(super) fn no_generation(object: &mut Value) {
    if let Some(map) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        map.remove("generation");
    }
}

/// Sets which generation it is.
pub(super) fn set_generation(object: &mut Value, generation: i64) {
    if let Some(map) = super::value::object_mut(object, &["metadata"]) {
        map.insert("generation".to_owned(), json!(generation));
    }
}

/// Everything of `old`, the status of `new`, and what the generic path itself sets in the metadata.
pub(super) fn keep_all_but_status(new: &mut Value, old: &Value) {
    let mut kept = old.clone();
    if let Some(map) = kept.as_object_mut() {
        match new.get_mut("status").map(Value::take) {
            Some(status) => map.insert("status".to_owned(), status),
            None => map.remove("status"),
        };
    }
    for name in ["resourceVersion", "managedFields"] {
        let value = at(new, &["metadata", name]).cloned();
        if let Some(metadata) = super::value::object_mut(&mut kept, &["metadata"]) {
            match value {
                Some(value) => metadata.insert(name.to_owned(), value),
                None => metadata.remove(name),
            };
        }
    }
    *new = kept;
}

/// For kinds in which a part is the status: as upstream has it for most, what somebody else may set in the metadata is
/// taken with it.
pub(super) fn keep_all_but_the_part(new: &mut Value, old: &Value, _: &PartWrite<'_>) {
    keep_with_metadata(new, old, &["annotations", "finalizers", "labels", "ownerReferences"]);
}

/// The same, but for these of the metadata alone.
pub(super) fn keep_with_metadata(new: &mut Value, old: &Value, names: &[&str]) {
    let sent: Vec<Option<Value>> = names.iter().map(|name| at(new, &["metadata", name]).cloned()).collect();
    keep_all_but_status(new, old);
    let Some(metadata) = super::value::object_mut(new, &["metadata"]) else { return };
    for (name, value) in names.iter().zip(sent) {
        match value {
            Some(value) => metadata.insert((*name).to_owned(), value),
            None => metadata.remove(*name),
        };
    }
}

/// For kinds in which a part is the status and nothing else.
pub(super) fn keep_all_but_the_status(new: &mut Value, old: &Value, _: &PartWrite<'_>) {
    keep_all_but_status(new, old);
}

/// For kinds in which a part may change to anything that is sound.
pub(super) fn any_part(_: &Value, _: &Value, _: &PartWrite<'_>) -> Faults {
    Faults::new()
}

/// For kinds whose generation stays that of their creation.
pub(super) fn keep_generation(new: &mut Value, old: &Value) {
    set_generation(new, number(old, &["metadata", "generation"]).unwrap_or(1));
}

/// For kinds in which nothing is defaulted.
pub(super) fn nothing(_: &mut Value) {}

/// For kinds in which an update may change everything.
pub(super) fn any_change(_: &Value, _: &Value) -> Faults {
    Faults::new()
}

/// For kinds in which any content is sound.
pub(super) fn any(_: &Value) -> Faults {
    Faults::new()
}

/// For kinds that nothing selects by.
pub(super) fn not_selectable(_: &Value) -> Vec<(&'static str, String)> {
    Vec::new()
}

/// For kinds without status and generation.
pub(super) fn keep_nothing(new: &mut Value, _: &Value) {
    no_generation(new);
}
