//! `ResourceClaim`.

use super::super::columns::{Column, age, name};
use super::super::place::Place;
use super::super::row::{KindRow, Subresource};
use super::super::value::{at, items};
use super::super::workload::default_status;
use super::super::{check, meta};
use super::{GROUP, request, result};
use hako_kube::field::Faults;
use jiff::Timestamp;
use serde_json::Value;

pub(in super::super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "ResourceClaim",
    plural: "resourceclaims",
    singular: "resourceclaim",
    subresources: &[Subresource::status(GROUP, "v1", "ResourceClaim")],
    type_name: "io.k8s.api.resource.v1.ResourceClaim",
    columns: &[
        Column::NAME,
        Column::text("State", "A summary of the current state (allocated, pending, reserved, etc.)."),
        Column::AGE,
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_create: meta::start_uncounted,
    prepare_update: meta::keep_status_uncounted,
    prepare_part: meta::keep_all_but_the_status,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), state(object).into(), age(object, now)]
}

fn state(object: &Value) -> String {
    let mut states = Vec::new();
    if at(object, &["metadata", "deletionTimestamp"]).is_some() {
        states.push("deleted");
    }
    if at(object, &["status", "allocation"]).is_none() {
        if states.is_empty() {
            states.push("pending");
        }
    } else {
        states.push("allocated");
        if !items(object, &["status", "reservedFor"]).is_empty() {
            states.push("reserved");
        }
    }
    states.join(",")
}

fn default(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec") {
        request::default(spec);
    }
    default_status(object, &[]);
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    request::validate(&Place::of(object).at(&["spec"]), &mut causes);
    causes
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    check::immutable(new, old, &["spec"], "", &mut causes);
    if new.get("status") != old.get("status") {
        result::validate(&Place::of(new), &Place::of(old), &mut causes);
    }
    causes
}
