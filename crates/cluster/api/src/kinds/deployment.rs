//! `Deployment`.

use super::columns::{Column, age, containers, name, selector};
use super::replica_set::validate_workload;
use super::row::{KindRow, Subresource};
use super::value::{at, number, object_mut, set_default, text};
use super::workload::{
    CONTAINERS, IMAGES, SELECTOR, at_most_all, counts, default_template, immutable_selector, int_or_percent,
    not_decremented,
};
use super::{check, meta};
use hako_kube::field::{self, Faults};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) const ROW: KindRow = KindRow {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    subresources: &[Subresource::SCALE, Subresource::status("apps", "v1", "Deployment")],
    type_name: "io.k8s.api.apps.v1.Deployment",
    columns: &[
        Column::NAME,
        Column::text("Ready", "Number of the pod with ready state"),
        Column::number("Up-to-date", "How many pods have the desired template."),
        Column::number("Available", "How many pods are available."),
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
    prepare_update,
    prepare_part: |new, old, _| {
        meta::keep_with_metadata(new, old, &["annotations", "finalizers", "ownerReferences"])
    },
    warnings: super::warnings::named,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let count = |path: &[&str]| number(object, path).unwrap_or(0);
    let (names, images) = containers(at(object, &["spec", "template"]));
    let ready = count(&["status", "readyReplicas"]);
    vec![
        name(object),
        format!("{ready}/{}", count(&["spec", "replicas"])).into(),
        count(&["status", "updatedReplicas"]).into(),
        count(&["status", "availableReplicas"]).into(),
        age(object, now),
        names,
        images,
        selector(at(object, &["spec", "selector"])),
    ]
}

fn default(object: &mut Value) {
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    set_default(spec, "replicas", 1);
    set_default(spec, "revisionHistoryLimit", 10);
    set_default(spec, "progressDeadlineSeconds", 600);
    set_default(spec, "strategy", json!({}));
    default_template(spec);
    let Some(strategy) = spec.get_mut("strategy").and_then(Value::as_object_mut) else { return };
    set_default(strategy, "type", "RollingUpdate");
    if strategy.get("type") == Some(&json!("RollingUpdate")) {
        set_default(strategy, "rollingUpdate", json!({}));
        if let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut) {
            set_default(rolling, "maxUnavailable", "25%");
            set_default(rolling, "maxSurge", "25%");
        }
    }
}

fn validate(object: &Value) -> Faults {
    let mut causes = validate_workload(object);
    strategy(object, &mut causes);
    let numbers = ["revisionHistoryLimit", "progressDeadlineSeconds"];
    check::not_negative(&object["spec"], &numbers, "spec", &mut causes);
    if let (Some(deadline), min) = (
        number(object, &["spec", "progressDeadlineSeconds"]),
        number(object, &["spec", "minReadySeconds"]).unwrap_or(0),
    ) && deadline <= min
    {
        causes.push(field::invalid(
            "spec.progressDeadlineSeconds",
            deadline,
            "must be greater than minReadySeconds",
        ));
    }
    let parts = ["updatedReplicas", "readyReplicas", "availableReplicas"];
    counts(&object["status"], &parts, &mut causes);
    check::not_negative(&object["status"], &["unavailableReplicas"], "status", &mut causes);
    causes
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = immutable_selector(new, old);
    not_decremented(new, old, "collisionCount", &mut causes);
    causes
}

fn strategy(object: &Value, causes: &mut Faults) {
    const PATH: &str = "spec.strategy.rollingUpdate";
    let rolling = at(object, &["spec", "strategy", "rollingUpdate"]);
    match text(object, &["spec", "strategy", "type"]) {
        "Recreate" if rolling.is_some() => {
            causes.push(field::forbidden(PATH, "may not be specified when strategy `type` is 'Recreate'"))
        }
        "Recreate" => {}
        "RollingUpdate" => {
            let Some(rolling) = rolling else {
                causes.push(field::required(PATH, "this should be defaulted and never be nil"));
                return;
            };
            let unavailable = int_or_percent(rolling, "maxUnavailable", PATH, causes);
            let surge = int_or_percent(rolling, "maxSurge", PATH, causes);
            if unavailable == Some(0) && surge == Some(0) {
                causes.push(field::invalid(
                    field::child(PATH, "maxUnavailable"),
                    rolling.get("maxUnavailable").cloned().unwrap_or(Value::Null),
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
            at_most_all(rolling, "maxUnavailable", PATH, causes);
        }
        _ => {
            let strategy = object["spec"]["strategy"].clone();
            causes.push(field::not_supported("spec.strategy", strategy, &["Recreate", "RollingUpdate"]));
        }
    }
}

/// Annotations count as a change too: `kubectl rollout undo` reads them.
fn prepare_update(new: &mut Value, old: &Value) {
    meta::keep_status(new, old);
    let has_changed_alone = at(new, &["metadata", "annotations"]) != at(old, &["metadata", "annotations"])
        && new.get("spec") == old.get("spec");
    if has_changed_alone && let Some(metadata) = object_mut(new, &["metadata"]) {
        let generation = number(old, &["metadata", "generation"]).unwrap_or(0);
        metadata.insert("generation".to_owned(), json!(generation + 1));
    }
}
