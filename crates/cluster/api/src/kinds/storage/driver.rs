//! `CSIDriver`.

use super::super::columns::{Column, age, name, or_none};
use super::super::row::{KindRow, Scope};
use super::super::value::{items, number, object_mut, set_default, text};
use super::super::{check, meta};
use super::GROUP;
use hako_kube::field::{self, Faults};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;

pub(in super::super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "CSIDriver",
    plural: "csidrivers",
    singular: "csidriver",
    scope: Scope::Cluster,
    type_name: "io.k8s.api.storage.v1.CSIDriver",
    columns: &[
        Column::NAME,
        flag("AttachRequired", "Whether volumes are attached before they are mounted."),
        flag("PodInfoOnMount", "Whether the driver is told about the pod."),
        flag("StorageCapacity", "Whether the driver says how much it could make."),
        Column::text("TokenRequests", "The audiences of tokens that the driver gets."),
        flag("RequiresRepublish", "Whether mounting is repeated."),
        Column::text("Modes", "The kinds of volumes it makes."),
        Column::AGE,
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_update,
    ..KindRow::BASE
};

const fn flag(name: &'static str, description: &'static str) -> Column {
    Column { kind: "boolean", ..Column::text(name, description) }
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let is = |name: &str, otherwise: bool| Value::from(spec[name].as_bool().unwrap_or(otherwise));
    let audiences: Vec<&str> =
        items(spec, &["tokenRequests"]).iter().map(|request| text(request, &["audience"])).collect();
    let tokens = spec.get("tokenRequests").map_or("<unset>".to_owned(), |_| audiences.join(","));
    let modes: Vec<&str> = items(spec, &["volumeLifecycleModes"]).iter().filter_map(Value::as_str).collect();
    vec![
        name(object),
        is("attachRequired", true),
        is("podInfoOnMount", false),
        is("storageCapacity", false),
        tokens.into(),
        is("requiresRepublish", false),
        or_none(&modes.join(",")),
        age(object, now),
    ]
}

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, &["spec"]) {
        set_default(spec, "attachRequired", true);
        set_default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        for name in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            set_default(spec, name, false);
        }
        let is_empty = spec.get("volumeLifecycleModes").and_then(Value::as_array).is_none_or(Vec::is_empty);
        if is_empty {
            spec.insert("volumeLifecycleModes".to_owned(), json!(["Persistent"]));
        }
    }
}

fn validate(object: &Value) -> Faults {
    let (mut causes, spec) = (Faults::new(), &object["spec"]);
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    check::one_of(spec, "fsGroupPolicy", &policies, "spec", &mut causes);
    let requests = items(spec, &["tokenRequests"]);
    tokens(requests, &mut causes);
    for mode in items(spec, &["volumeLifecycleModes"]) {
        if mode != "Persistent" && mode != "Ephemeral" {
            let known = ["Persistent", "Ephemeral"];
            causes.push(field::not_supported("spec.volumeLifecycleModes", mode.clone(), &known));
        }
    }
    if let Some(seconds) = number(spec, &["nodeAllocatableUpdatePeriodSeconds"]).filter(|it| *it < 10) {
        let path = "spec.nodeAllocatableUpdatePeriodSeconds";
        causes.push(field::invalid(path, seconds, "must be greater than or equal to 10 seconds"));
    }
    if let Some(value) = spec.get("serviceAccountTokenInSecrets").filter(|_| requests.is_empty()) {
        let path = "spec.serviceAccountTokenInSecrets";
        causes.push(field::invalid(path, value.clone(), "may only be set together with tokenRequests"));
    }
    causes
}

const TOKEN_SECONDS: std::ops::RangeInclusive<i64> = 600..=1 << 32;

fn tokens(requests: &[Value], causes: &mut Faults) {
    let mut seen = HashSet::new();
    for (index, request) in requests.iter().enumerate() {
        let path = field::index("spec.tokenRequests", index);
        let audience = text(request, &["audience"]);
        if !seen.insert(audience) {
            causes.push(field::duplicate(field::child(&path, "audience"), audience));
            continue;
        }
        let Some(seconds) = number(request, &["expirationSeconds"]) else { continue };
        let path = field::child(&path, "expirationSeconds");
        if seconds < *TOKEN_SECONDS.start() {
            let detail = "may not specify a duration less than 10 minutes";
            causes.push(field::invalid(path, seconds, detail));
        } else if seconds > *TOKEN_SECONDS.end() {
            let detail = "may not specify a duration larger than 2^32 seconds";
            causes.push(field::invalid(path, seconds, detail));
        }
    }
}

/// The first of the two is named as the original misspells it.
fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    for (name, path) in
        [("attachRequired", "spec.attachedRequired"), ("volumeLifecycleModes", "spec.volumeLifecycleModes")]
    {
        let (is, was) = (&new["spec"][name], &old["spec"][name]);
        if is != was {
            causes.push(field::invalid(path, is.clone(), check::IMMUTABLE));
        }
    }
    causes
}

/// Only changes are counted: a new one has no generation.
fn prepare_update(new: &mut Value, old: &Value) {
    let generation = number(old, &["metadata", "generation"]).unwrap_or(0);
    let changed = generation + i64::from(new["spec"] != old["spec"]);
    meta::no_generation(new);
    if changed > 0
        && let Some(metadata) = object_mut(new, &["metadata"])
    {
        metadata.insert("generation".to_owned(), changed.into());
    }
}
