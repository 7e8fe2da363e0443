//! `PodTemplate`.

use super::columns::{Column, containers, labels, name};
use super::row::KindRow;
use super::value::{at, number, object_mut};
use super::workload::default_template;
use super::{meta, pod_spec};
use hako_kube::field::{self, Faults};
use jiff::Timestamp;
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    kind: "PodTemplate",
    plural: "podtemplates",
    singular: "podtemplate",
    type_name: "io.k8s.api.core.v1.PodTemplate",
    columns: &[
        Column::NAME,
        Column::text("Containers", "Names of each container in the template."),
        Column::text("Images", "Images referenced by each container in the template."),
        Column::text("Pod Labels", "The labels for the pod template."),
    ],
    cells,
    default,
    validate,
    prepare_create: meta::start,
    prepare_update,
    warnings: |new, old| super::warnings::template(new, old, &["template"]),
    ..KindRow::BASE
};

fn cells(object: &Value, _: Timestamp) -> Vec<Value> {
    let (names, images) = containers(object.get("template"));
    vec![name(object), names, images, labels(at(object, &["template", "metadata", "labels"]))]
}

fn default(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        default_template(map);
    }
}

fn validate(object: &Value) -> Faults {
    match object.get("template") {
        Some(template) => pod_spec::validate_template(template, "template"),
        None => Faults::from([field::required("template.spec.containers", "")]),
    }
}

fn prepare_update(new: &mut Value, old: &Value) {
    let generation = number(old, &["metadata", "generation"]).unwrap_or(0);
    let has_changed = new.get("template") != old.get("template");
    if let Some(metadata) = object_mut(new, &["metadata"]) {
        metadata.insert("generation".to_owned(), (generation + i64::from(has_changed)).into());
    }
}
