//! How a job's pods are told from all others: by labels that carry the job's identity.

use super::super::value::{object_mut, set_default, text};
use super::super::workload;
use hako_kube::{
    LabelSelector,
    field::{self, Faults},
};
use serde::Deserialize as _;
use serde_json::{Value, json};

const CONTROLLER: &str = "batch.kubernetes.io/controller-uid";
/// Each label, and the member of the metadata whose value it has.
const LABELS: [(&str, &str); 4] = [
    ("controller-uid", "uid"),
    ("job-name", "name"),
    (CONTROLLER, "uid"),
    ("batch.kubernetes.io/job-name", "name"),
];
const TEMPLATE: &str = "spec.template.metadata.labels";

/// Labels the template and selects by the label. What the writer set stays, for validation to refuse.
pub(super) fn generate(object: &mut Value) {
    let metadata = object["metadata"].clone();
    if let Some(labels) = object_mut(object, &["spec", "template", "metadata", "labels"]) {
        for (label, member) in LABELS {
            set_default(labels, label, text(&metadata, &[member]));
        }
    }
    if let Some(labels) = object_mut(object, &["spec", "selector", "matchLabels"]) {
        set_default(labels, CONTROLLER, text(&metadata, &["uid"]));
    }
}

/// Faults of labels and a selector that the server should have made.
pub(super) fn validate(object: &Value, causes: &mut Faults) {
    let spec = &object["spec"];
    let selector = spec.get("selector").filter(|_| spec["manualSelector"] != Value::Bool(true));
    let Some(selector) = selector else { return };
    if text(object, &["metadata", "uid"]).is_empty() {
        causes.push(field::required("metadata.uid", ""));
    }
    let labels = workload::labels(&spec["template"]);
    for (label, member) in LABELS {
        let wanted = text(object, &["metadata", member]);
        let (path, detail) = (field::key(TEMPLATE, label), format!("must be '{wanted}'"));
        match labels.get(label) {
            None => causes.push(field::required(path, &detail)),
            Some(value) if value != wanted => causes.push(field::invalid(path, json!(labels), &detail)),
            Some(_) => {}
        }
    }
    let expected =
        LABELS.map(|(label, member)| (label.to_owned(), text(object, &["metadata", member]).to_owned()));
    let structured = LabelSelector::deserialize(selector).ok().and_then(|it| it.selector().ok());
    if structured.is_some_and(|structured| !structured.matches(&expected.into())) {
        causes.push(field::invalid("spec.selector", selector.clone(), "`selector` not auto-generated"));
    }
}
