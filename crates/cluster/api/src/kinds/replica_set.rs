//! `ReplicaSet`, and what it shares with `Deployment` and `ReplicationController`.

use super::columns::{Column, age, containers, name, selector};
use super::row::{KindRow, Subresource};
use super::value::{at, number, object_mut, set_default};
use super::workload::{self, CONTAINERS, IMAGES, Owner, SELECTOR, default_template};
use super::{check, meta};
use hako_kube::field::Faults;
use jiff::Timestamp;
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    group: "apps",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    subresources: &[Subresource::SCALE, Subresource::status("apps", "v1", "ReplicaSet")],
    type_name: "io.k8s.api.apps.v1.ReplicaSet",
    columns: &[
        Column::NAME,
        Column::number("Desired", "How many pods there should be."),
        Column::number("Current", "How many pods there are."),
        Column::number("Ready", "How many pods are ready."),
        Column::AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells,
    default,
    validate,
    validate_update: workload::immutable_selector,
    prepare_create: meta::start,
    prepare_update: meta::keep_status,
    selectable,
    selectable_fields: &["status.replicas"],
    warnings: super::warnings::named,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    cells_with(object, now, selector(at(object, &["spec", "selector"])))
}

/// The cells, with the one that shows how pods are selected.
pub(super) fn cells_with(object: &Value, now: Timestamp, selector: Value) -> Vec<Value> {
    let count = |path: &[&str]| number(object, path).unwrap_or(0).into();
    let (names, images) = containers(at(object, &["spec", "template"]));
    vec![
        name(object),
        count(&["spec", "replicas"]),
        count(&["status", "replicas"]),
        count(&["status", "readyReplicas"]),
        age(object, now),
        names,
        images,
        selector,
    ]
}

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, &["spec"]) {
        set_default(spec, "replicas", 1);
        default_template(spec);
    }
    if let Some(status) = object_mut(object, &["status"]) {
        set_default(status, "replicas", 0);
    }
}

/// In the messages about its own selector it is called a deployment too.
pub(super) const OWNER: Owner = Owner { selecting: "deployment", running: "ReplicaSet" };

fn validate(object: &Value) -> Faults {
    let mut causes = validate_workload(object);
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    workload::counts(&object["status"], &parts, &mut causes);
    causes
}

/// Faults of what a `Deployment` has too: replicas, minReadySeconds, selector, template.
pub(super) fn validate_workload(object: &Value) -> Faults {
    let mut causes = Faults::new();
    check::not_negative(&object["spec"], &["replicas", "minReadySeconds"], "spec", &mut causes);
    causes.extend(workload::selector_and_template(object, at(object, &["spec", "template"]), OWNER));
    causes
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    let replicas = number(object, &["status", "replicas"]).unwrap_or(0);
    vec![("status.replicas", replicas.to_string())]
}
