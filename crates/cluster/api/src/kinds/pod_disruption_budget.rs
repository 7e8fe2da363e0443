//! `PodDisruptionBudget`.

use super::columns::{Column, age, name};
use super::place::{Faults, Place, path_segment};
use super::row::{KindRow, Subresource};
use super::value::{at, number, object_mut, set_default};
use super::{conditions, meta};
use hako_kube::field;
use jiff::Timestamp;
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    group: "policy",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    subresources: &[Subresource::status("policy", "v1", "PodDisruptionBudget")],
    type_name: "io.k8s.api.policy.v1.PodDisruptionBudget",
    columns: &[
        Column::NAME,
        Column::text("Min Available", "How many pods there must be."),
        Column::text("Max Unavailable", "How many pods may be missing."),
        Column::number("Allowed Disruptions", "How many pods may be evicted now."),
        Column::AGE,
    ],
    cells,
    // Upstream checks no more of it.
    name_faults: path_segment,
    default,
    validate,
    prepare_create: meta::start,
    prepare_update: meta::keep_status,
    ..KindRow::BASE
};

/// What a status counts.
const COUNTS: [&str; 4] = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let amount = |of: &str| match at(object, &["spec", of]) {
        Some(Value::String(text)) => text.as_str().into(),
        Some(number @ Value::Number(_)) => number.to_string().into(),
        _ => Value::from("N/A"),
    };
    vec![
        name(object),
        amount("minAvailable"),
        amount("maxUnavailable"),
        number(object, &["status", "disruptionsAllowed"]).unwrap_or(0).into(),
        age(object, now),
    ]
}

fn default(object: &mut Value) {
    if let Some(status) = object_mut(object, &["status"]) {
        COUNTS.iter().for_each(|count| set_default(status, count, 0));
    }
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    let (least, most) = (spec.at(&["minAvailable"]), spec.at(&["maxUnavailable"]));
    if least.is_set() && most.is_set() {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        faults.push(field::invalid("spec", spec.value.clone(), detail));
    }
    for amount in [least, most].into_iter().filter(Place::is_set) {
        amount.int_or_percent(&mut faults);
    }
    spec.at(&["selector"]).selector(&mut faults);
    spec.at(&["unhealthyPodEvictionPolicy"]).one_of_given(&["AlwaysAllow", "IfHealthyBudget"], &mut faults);
    let status = Place::of(object).at(&["status"]);
    conditions::validate(&status.at(&["conditions"]), &mut faults);
    COUNTS.iter().for_each(|count| status.at(&[count]).not_negative(&mut faults));
    faults
}
