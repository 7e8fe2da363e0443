//! `ReplicaSet`, and what it shares with `Deployment`.

use super::columns::{Column, age, containers, name, selector};
use super::row::{KindRow, Subresource};
use super::value::{at, number, object_mut, set_default};
use super::{meta, pod_spec};
use hako_error::FieldCause;
use hako_kube::{LabelSelector, field};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
    validate_update,
    prepare_create: meta::start,
    prepare_update: meta::keep_status,
    selectable,
    selectable_fields: &["status.replicas"],
    ..KindRow::BASE
};

pub(super) const CONTAINERS: Column =
    Column::text("Containers", "Names of each container in the template.").wide();
pub(super) const IMAGES: Column =
    Column::text("Images", "Images referenced by each container in the template.").wide();
pub(super) const SELECTOR: Column = Column::text("Selector", "The label selector.").wide();

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
        selector(at(object, &["spec", "selector"])),
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

/// Defaults of `template` in a workload's spec.
pub(super) fn default_template(spec: &mut serde_json::Map<String, Value>) {
    if let Some(template) = spec.get_mut("template")
        && let Some(pod) = object_mut(template, &["spec"])
    {
        pod_spec::default(pod);
    }
}

fn validate(object: &Value) -> Vec<FieldCause> {
    let mut causes = validate_workload(object);
    let status = at(object, &["status"]).cloned().unwrap_or_else(|| json!({}));
    for name in
        ["replicas", "readyReplicas", "availableReplicas", "fullyLabeledReplicas", "observedGeneration"]
    {
        not_negative(&status, &[name], &field::child("status", name), &mut causes);
    }
    causes
}

/// Faults of what all workloads have: replicas, minReadySeconds, selector, template.
pub(super) fn validate_workload(object: &Value) -> Vec<FieldCause> {
    let mut causes = Vec::new();
    for name in ["replicas", "minReadySeconds"] {
        not_negative(object, &["spec", name], &field::child("spec", name), &mut causes);
    }
    let selector = at(object, &["spec", "selector"]);
    let structured = selector.and_then(|selector| LabelSelector::deserialize(selector).ok());
    match &structured {
        None => causes.push(field::required("spec.selector", "")),
        Some(empty) if empty.is_empty() => {
            let value = selector.cloned().unwrap_or_else(|| json!({}));
            causes.push(field::invalid("spec.selector", value, "empty selector is invalid for deployment"));
        }
        Some(selector) => causes.extend(selector.validate("spec.selector")),
    }
    match at(object, &["spec", "template"]) {
        None => causes.push(field::required("spec.template", "")),
        Some(template) => {
            if let Some(selector) = structured.and_then(|structured| structured.selector().ok()) {
                selects_template(&selector, template, &mut causes);
            }
            meta::labels(template, &["metadata", "labels"], "spec.template.labels", &mut causes);
            causes.extend(pod_spec::validate_template(template, "spec.template"));
        }
    }
    causes
}

fn selects_template(selector: &hako_kube::Selector, template: &Value, causes: &mut Vec<FieldCause>) {
    let labels = at(template, &["metadata", "labels"]);
    let labels: BTreeMap<String, String> =
        labels.and_then(|labels| serde::Deserialize::deserialize(labels).ok()).unwrap_or_default();
    if !selector.requirements().is_empty() && !selector.matches(&labels) {
        causes.push(field::invalid(
            "spec.template.metadata.labels",
            json!(labels),
            "`selector` does not match template `labels`",
        ));
    }
}

/// A fault where a number is below zero.
pub(super) fn not_negative(object: &Value, path: &[&str], shown: &str, causes: &mut Vec<FieldCause>) {
    if let Some(number) = number(object, path)
        && number < 0
    {
        causes.push(field::invalid(shown, number, "must be greater than or equal to 0"));
    }
}

fn validate_update(new: &Value, old: &Value) -> Vec<FieldCause> {
    immutable_selector(new, old)
}

/// The selector of a workload never changes.
pub(super) fn immutable_selector(new: &Value, old: &Value) -> Vec<FieldCause> {
    let (is, was) = (at(new, &["spec", "selector"]), at(old, &["spec", "selector"]));
    if is == was {
        return Vec::new();
    }
    let value = is.cloned().unwrap_or(Value::Null);
    vec![field::invalid("spec.selector", value, "field is immutable")]
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    let replicas = number(object, &["status", "replicas"]).unwrap_or(0);
    vec![("status.replicas", replicas.to_string())]
}
