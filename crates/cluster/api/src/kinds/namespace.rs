//! `Namespace`.

use super::columns::{Column, age, name};
use super::meta;
use super::row::{KindRow, PartWrite, Scope, Subresource};
use super::value::{at, items, object_mut, set_default, text};
use hako_kube::field::Faults;
use hako_kube::names;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) const ROW: KindRow = KindRow {
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    scope: Scope::Cluster,
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    subresources: &[
        Subresource { name: "finalize", group: "", version: "v1", kind: "Namespace", verbs: &["update"] },
        Subresource::status("", "v1", "Namespace"),
    ],
    type_name: "io.k8s.api.core.v1.Namespace",
    columns: &[Column::NAME, Column::text("Status", "The status of the namespace."), Column::AGE],
    cells,
    name_faults: names::dns_label,
    default,
    validate,
    validate_part,
    prepare_create,
    prepare_update,
    begin_deletion,
    selectable,
    selectable_fields: &["status.phase"],
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, &["status", "phase"]).into(), age(object, now)]
}

/// Every namespace can be selected by its name.
fn default(object: &mut Value) {
    let name = text(object, &["metadata", "name"]).to_owned();
    if !name.is_empty()
        && let Some(labels) = object_mut(object, &["metadata", "labels"])
    {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
    }
    if let Some(status) = object_mut(object, &["status"]) {
        set_default(status, "phase", "Active");
    }
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    const PATH: &str = "spec.finalizers";
    for finalizer in items(object, &["spec", "finalizers"]) {
        meta::finalizer(finalizer.as_str().unwrap_or(""), PATH, PATH, &mut causes);
    }
    causes
}

fn begin_deletion(object: &mut Value) {
    if let Some(status) = object_mut(object, &["status"]) {
        status.insert("phase".to_owned(), "Terminating".into());
    }
}

/// The phase of a namespace says whether it is going.
fn validate_part(new: &Value, _: &Value, part: &PartWrite<'_>) -> Faults {
    let phase = text(new, &["status", "phase"]);
    let (wanted, detail) = match at(new, &["metadata", "deletionTimestamp"]) {
        None => ("Active", "may only be 'Active' if `deletionTimestamp` is empty"),
        Some(_) => ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty"),
    };
    let is_sound = part.name != "status" || phase == wanted;
    if is_sound {
        Faults::new()
    } else {
        Faults::from([hako_kube::field::invalid("status.Phase", phase, detail)])
    }
}

/// The finalizer `kubernetes` keeps the namespace until its content is gone.
fn prepare_create(object: &mut Value) {
    meta::no_generation(object);
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), json!({ "phase": "Active" }));
    }
    if let Some(spec) = object_mut(object, &["spec"]) {
        let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(list) = finalizers.as_array_mut()
            && !list.contains(&json!("kubernetes"))
        {
            list.push(json!("kubernetes"));
        }
    }
}

/// Finalizers are changed through `finalize` alone.
fn prepare_update(new: &mut Value, old: &Value) {
    meta::keep_status(new, old);
    meta::no_generation(new);
    let finalizers = at(old, &["spec", "finalizers"]).cloned();
    if let Some(spec) = object_mut(new, &["spec"]) {
        match finalizers {
            Some(finalizers) => spec.insert("finalizers".to_owned(), finalizers),
            None => spec.remove("finalizers"),
        };
    }
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    vec![("status.phase", text(object, &["status", "phase"]).to_owned())]
}
