//! `Lease`.

use super::columns::{Column, age, name};
use super::row::KindRow;
use super::value::{number, text};
use hako_error::FieldCause;
use hako_kube::{field, names};
use jiff::Timestamp;
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    group: "coordination.k8s.io",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    type_name: "io.k8s.api.coordination.v1.Lease",
    columns: &[Column::NAME, Column::text("Holder", "Who holds the lease."), Column::AGE],
    cells,
    validate,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let holder = text(object, &["spec", "holderIdentity"]);
    vec![name(object), holder.into(), age(object, now)]
}

fn validate(object: &Value) -> Vec<FieldCause> {
    let mut causes = Vec::new();
    if let Some(seconds) = number(object, &["spec", "leaseDurationSeconds"])
        && seconds <= 0
    {
        causes.push(field::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    if let Some(transitions) = number(object, &["spec", "leaseTransitions"])
        && transitions < 0
    {
        causes.push(field::invalid(
            "spec.leaseTransitions",
            transitions,
            "must be greater than or equal to 0",
        ));
    }
    let get = |name: &str| object["spec"].get(name).and_then(Value::as_str);
    if let Some(holder) = get("preferredHolder").filter(|holder| !holder.is_empty())
        && get("strategy").is_none_or(str::is_empty)
    {
        let detail = "may only be specified if `strategy` is defined";
        causes.push(field::invalid("spec.preferredHolder", holder, detail));
    }
    if let Some(strategy) = get("strategy") {
        super::check::syntax(names::qualified_name(strategy), strategy, "spec.strategy", &mut causes);
    }
    causes
}
