//! `ReplicationController`.

use super::columns::labels;
use super::row::{KindRow, Subresource};
use super::value::{at, members, object_mut, set_default};
use super::workload::{self, default_status, default_template};
use super::{check, meta, pod_spec, replica_set};
use hako_kube::{
    Selector,
    field::{self, Faults},
};
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
    columns: replica_set::ROW.columns,
    cells,
    default,
    validate,
    prepare_create: meta::start,
    prepare_update: meta::keep_status,
    selectable: replica_set::ROW.selectable,
    selectable_fields: replica_set::ROW.selectable_fields,
    warnings: super::warnings::named,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    replica_set::cells_with(object, now, labels(at(object, &["spec", "selector"])))
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

fn validate(object: &Value) -> Faults {
    let (mut causes, spec) = (Faults::new(), &object["spec"]);
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
