//! `Lease`.

use super::columns::{Column, age, name};
use super::row::KindRow;
use super::value::{number, text};
use hako_kube::{
    field::{self, Faults},
    names,
};
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

/// The one strategy that the platform itself knows.
const KNOWN: &str = "OldestEmulationVersion";

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let holder = text(object, &["spec", "holderIdentity"]);
    vec![name(object), holder.into(), age(object, now)]
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
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
    let (holder, strategy) = (get("preferredHolder"), get("strategy"));
    if holder.is_some_and(|holder| !holder.is_empty()) && strategy.is_none_or(str::is_empty) {
        let detail = "may only be specified if `strategy` is defined";
        causes.push(field::forbidden("spec.preferredHolder", detail));
    }
    // The original names the field within itself.
    const STRATEGY: &str = "spec.strategy.strategy";
    match strategy {
        Some(own) if own.contains('/') => {
            super::check::syntax(names::qualified_name(own), own, STRATEGY, &mut causes);
        }
        Some(known) if known != KNOWN => causes.push(field::not_supported(STRATEGY, known, &[KNOWN])),
        _ => {}
    }
    causes
}
