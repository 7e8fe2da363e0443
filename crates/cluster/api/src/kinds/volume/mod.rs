//! What volumes and claims share: access modes, volume modes, classes, and the row of each.

pub(super) mod claim;
mod iscsi;
pub(super) mod source;
pub(super) mod spec;
pub(super) mod whole;

use super::check;
use super::value::{items, text};
use hako_kube::{
    field::{self, Faults},
    names,
};
use serde_json::Value;

/// The access modes and their abbreviations, in the order in which they are shown.
const ACCESS: [(&str, &str); 4] = [
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];
const ACCESS_SORTED: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const MODES: &[&str] = &["Block", "Filesystem"];
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// Access modes as a table shows them.
fn access(object: &Value, path: &[&str]) -> String {
    let modes = items(object, path);
    let has = |name: &str| modes.iter().any(|mode| mode == name);
    let shown: Vec<&str> =
        ACCESS.iter().filter(|(name, _)| has(name)).map(|(_, abbreviation)| *abbreviation).collect();
    shown.join(",")
}

/// The class of a volume or claim, also where an annotation of old says it.
fn class(object: &Value) -> &str {
    match text(object, &["metadata", "annotations", CLASS]) {
        "" => text(object, &["spec", "storageClassName"]),
        of_old => of_old,
    }
}

/// A text, or `<unset>`.
fn or_unset(text: &str) -> Value {
    if text.is_empty() { "<unset>".into() } else { text.into() }
}

/// A phase, or that the object is going.
fn phase(object: &Value) -> &str {
    match object["metadata"].get("deletionTimestamp") {
        Some(_) => "Terminating",
        None => text(object, &["status", "phase"]),
    }
}

/// Faults of what the specs of both have.
fn shared(spec: &Value, path: &str, without_access: &str, causes: &mut Faults) {
    let modes = items(spec, &["accessModes"]);
    let modes_path = field::child(path, "accessModes");
    if modes.is_empty() {
        causes.push(field::required(&modes_path, without_access));
    }
    let known: Vec<&str> =
        modes.iter().filter_map(Value::as_str).filter(|mode| ACCESS_SORTED.contains(mode)).collect();
    for mode in modes.iter().filter_map(Value::as_str).filter(|mode| !known.contains(mode)) {
        causes.push(field::not_supported(&modes_path, mode, ACCESS_SORTED));
    }
    let is_single = |mode: &&&str| **mode == "ReadWriteOncePod";
    let single = known.iter().filter(is_single).count();
    if single > 0 && single < known.len() {
        let detail = "may not use ReadWriteOncePod with other access modes";
        causes.push(field::forbidden(&modes_path, detail));
    }
    check::one_of(spec, "volumeMode", MODES, path, causes);
    for name in ["storageClassName", "volumeAttributesClassName"] {
        let class = text(spec, &[name]);
        if !class.is_empty() {
            check::syntax(names::dns_subdomain(class), class, field::child(path, name), causes);
        }
    }
}

/// Faults of an amount that has to be there: more than nothing.
fn positive(value: Option<&Value>, path: &str, causes: &mut Faults) {
    let Some(amount) = check::quantity(value) else { return };
    if amount.is_negative() || amount.is_zero() {
        causes.push(field::invalid(path, amount.to_string(), "must be greater than zero"));
    }
}
