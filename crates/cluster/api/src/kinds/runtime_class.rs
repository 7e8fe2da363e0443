//! `RuntimeClass`.

use super::columns::{Column, age, name};
use super::place::{Faults, Place};
use super::row::{KindRow, Scope};
use super::value::{at, text};
use super::{meta, pod_spec};
use hako_kube::names;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;

pub(super) const ROW: KindRow = KindRow {
    group: "node.k8s.io",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    scope: Scope::Cluster,
    type_name: "io.k8s.api.node.v1.RuntimeClass",
    columns: &[Column::NAME, Column::text("Handler", "What runs containers of this class."), Column::AGE],
    cells,
    validate,
    validate_update,
    warnings: super::warnings::runtime_class,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, &["handler"]).into(), age(object, now)]
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    Place::of(object).at(&["handler"]).check(names::dns_label, &mut faults);
    if let Some(fixed) = at(object, &["overhead", "podFixed"]) {
        // Upstream checks them as the limits of a container, and says so.
        faults.extend(pod_spec::validate_resources(&json!({ "resources": { "limits": fixed } }), "overhead"));
    }
    if let Some(scheduling) = at(object, &["scheduling"]) {
        meta::labels(scheduling, &["nodeSelector"], "scheduling.nodeSelector", &mut faults);
        faults.extend(pod_spec::validate_tolerations(scheduling, "scheduling"));
        let tolerations = Place::of(object).at(&["scheduling", "tolerations"]).items();
        let mut seen = HashSet::new();
        faults.extend(tolerations.filter(|it| !seen.insert(key(it))).map(|it| it.duplicate()));
    }
    faults
}

/// What makes two tolerations one.
fn key<'a>(toleration: &Place<'a>) -> [&'a str; 4] {
    ["key", "operator", "value", "effect"].map(|part| toleration.at(&[part]).text())
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut faults = Faults::new();
    let handler = |object| Place::of(object).at(&["handler"]);
    handler(new).immutable(&handler(old), &mut faults);
    faults
}
