//! `DaemonSet`.

use super::columns::{Column, age, containers, labels, name, selector};
use super::row::{KindRow, Subresource};
use super::value::{at, number, object_mut, set_default, text};
use super::workload::{
    self, CONTAINERS, IMAGES, Owner, SELECTOR, at_most_all, default_status, default_template, int_or_percent,
};
use super::{check, meta};
use hako_kube::field::{self, Faults};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) const ROW: KindRow = KindRow {
    group: "apps",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    subresources: &[Subresource::status("apps", "v1", "DaemonSet")],
    type_name: "io.k8s.api.apps.v1.DaemonSet",
    columns: &[
        Column::NAME,
        Column::number("Desired", "How many nodes should run the pod."),
        Column::number("Current", "How many of these nodes run it."),
        Column::number("Ready", "How many of them have it ready."),
        Column::number("Up-to-date", "How many of them run the pod of the current template."),
        Column::number("Available", "How many of them have it available."),
        Column::text("Node Selector", "The labels of the nodes that should run the pod."),
        Column::AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_create,
    prepare_update,
    warnings: super::warnings::workload,
    ..KindRow::BASE
};

const OWNER: Owner = Owner { selecting: "daemonset", running: "DaemonSet" };
/// What clients of v1 see of a field that v1 dropped: how often the template changed.
const GENERATION: &str = "deprecated.daemonset.template.generation";
const COUNTS: [&str; 5] = [
    "desiredNumberScheduled",
    "currentNumberScheduled",
    "numberReady",
    "updatedNumberScheduled",
    "numberAvailable",
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let count = |name| number(object, &["status", name]).unwrap_or(0).into();
    let (names, images) = containers(at(object, &["spec", "template"]));
    let mut cells = vec![name(object)];
    cells.extend(COUNTS.map(count));
    cells.extend([
        labels(at(object, &["spec", "template", "spec", "nodeSelector"])),
        age(object, now),
        names,
        images,
        selector(at(object, &["spec", "selector"])),
    ]);
    cells
}

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, &["spec"]) {
        set_default(spec, "revisionHistoryLimit", 10);
        set_default(spec, "updateStrategy", json!({}));
        default_template(spec);
        if let Some(strategy) = spec.get_mut("updateStrategy").and_then(Value::as_object_mut) {
            set_default(strategy, "type", "RollingUpdate");
            if strategy.get("type") == Some(&json!("RollingUpdate")) {
                set_default(strategy, "rollingUpdate", json!({}));
            }
            if let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut) {
                set_default(rolling, "maxUnavailable", 1);
                set_default(rolling, "maxSurge", 0);
            }
        }
    }
    let required = ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"];
    default_status(object, &required);
}

fn validate(object: &Value) -> Faults {
    let template = at(object, &["spec", "template"]);
    let mut causes = workload::selector_and_template(object, template, OWNER);
    check::not_negative(&object["spec"], &["minReadySeconds", "revisionHistoryLimit"], "spec", &mut causes);
    strategy(&object["spec"]["updateStrategy"], &mut causes);
    let status = &object["status"];
    check::not_negative(status, &COUNTS, "status", &mut causes);
    let more = ["numberMisscheduled", "numberUnavailable", "observedGeneration", "collisionCount"];
    check::not_negative(status, &more, "status", &mut causes);
    causes
}

fn strategy(strategy: &Value, causes: &mut Faults) {
    const PATH: &str = "spec.updateStrategy.rollingUpdate";
    match (text(strategy, &["type"]), strategy.get("rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => causes.push(field::required(PATH, "")),
        ("RollingUpdate", Some(rolling)) => self::rolling(rolling, PATH, causes),
        _ => {
            let known = ["RollingUpdate", "OnDelete"];
            causes.push(field::not_supported("spec.updateStrategy", strategy.clone(), &known));
        }
    }
}

/// Pods are replaced either by taking old ones away first or by adding new ones first.
fn rolling(rolling: &Value, path: &str, causes: &mut Faults) {
    let unavailable = int_or_percent(rolling, "maxUnavailable", path, causes).unwrap_or(0);
    let surge = int_or_percent(rolling, "maxSurge", path, causes).unwrap_or(0);
    at_most_all(rolling, "maxUnavailable", path, causes);
    at_most_all(rolling, "maxSurge", path, causes);
    match (unavailable != 0, surge != 0) {
        (true, true) => causes.push(field::invalid(
            field::child(path, "maxSurge"),
            rolling["maxSurge"].clone(),
            "may not be set when maxUnavailable is non-zero",
        )),
        (false, false) => {
            let path = field::child(path, "maxUnavailable");
            causes.push(field::required(path, "cannot be 0 when maxSurge is 0"));
        }
        _ => {}
    }
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = workload::immutable_selector(new, old);
    workload::not_decremented(new, old, "collisionCount", &mut causes);
    causes
}

fn prepare_create(object: &mut Value) {
    meta::start(object);
    let given = template_generation(object).filter(|generation| *generation >= 1);
    set_template_generation(object, given.unwrap_or(1));
}

fn prepare_update(new: &mut Value, old: &Value) {
    meta::keep_status(new, old);
    let has_changed = new["spec"]["template"] != old["spec"]["template"];
    set_template_generation(new, template_generation(old).unwrap_or(1) + i64::from(has_changed));
}

fn template_generation(object: &Value) -> Option<i64> {
    text(object, &["metadata", "annotations", GENERATION]).parse().ok()
}

fn set_template_generation(object: &mut Value, generation: i64) {
    if let Some(annotations) = object_mut(object, &["metadata", "annotations"]) {
        annotations.insert(GENERATION.to_owned(), generation.to_string().into());
    }
}
