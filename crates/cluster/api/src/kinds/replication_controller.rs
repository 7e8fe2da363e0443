//! `ReplicationController`.

use super::columns::{Column, age, containers, labels, name};
use super::row::{KindRow, Subresource};
use super::value::{at, members, number, object_mut, set_default};
use super::workload::{self, CONTAINERS, IMAGES, SELECTOR, default_status, default_template};
use super::{check, meta, pod_spec};
use hako_error::FieldCause;
use hako_kube::{Selector, field};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) const ROW: KindRow = KindRow {
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    subresources: &[Subresource::SCALE, Subresource::status("", "v1", "ReplicationController")],
    type_name: "io.k8s.api.core.v1.ReplicationController",
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
    prepare_create: meta::start,
    prepare_update: meta::keep_status,
    selectable,
    selectable_fields: &["status.replicas"],
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
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
        labels(at(object, &["spec", "selector"])),
    ]
}

/// One that names no labels has those of its pods, and selects by them.
fn default(object: &mut Value) {
    let labels = at(object, &["spec", "template", "metadata", "labels"]).cloned();
    for path in [["spec", "selector"], ["metadata", "labels"]] {
        let is_set = members(object, &path).next().is_some();
        if let (Some(labels), false) = (&labels, is_set)
            && let Some(map) = object_mut(object, &path[..1])
        {
            map.insert(path[1].to_owned(), labels.clone());
        }
    }
    if let Some(spec) = object_mut(object, &["spec"]) {
        set_default(spec, "replicas", 1);
        default_template(spec);
    }
    default_status(object, &["replicas"]);
}

fn validate(object: &Value) -> Vec<FieldCause> {
    let (mut causes, spec) = (Vec::new(), &object["spec"]);
    check::not_negative(spec, &["minReadySeconds", "replicas"], "spec", &mut causes);
    let selector = spec.get("selector").and_then(|labels| BTreeMap::deserialize(labels).ok());
    let selector: BTreeMap<String, String> = selector.unwrap_or_default();
    if selector.is_empty() {
        causes.push(field::required("spec.selector", ""));
    }
    match spec.get("template") {
        None => causes.push(field::required("spec.template", "")),
        Some(template) => {
            workload::selects(&Selector::from_labels(&selector), template, "spec.template", &mut causes);
            causes.extend(pod_spec::validate_template(template, "spec.template"));
            causes.extend(pod_spec::keeps_running(template, "spec.template", "ReplicationController"));
        }
    }
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    workload::counts(&object["status"], &parts, &mut causes);
    causes
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    let replicas = number(object, &["status", "replicas"]).unwrap_or(0);
    vec![("status.replicas", replicas.to_string())]
}
