//! `ConfigMap`.

use super::columns::{Column, age, name};
use super::row::KindRow;
use super::value::{at, members};
use hako_kube::{
    field::{self, Faults},
    names,
};
use jiff::Timestamp;
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    type_name: "io.k8s.api.core.v1.ConfigMap",
    columns: &[Column::NAME, Column::text("Data", "How many entries it has."), Column::AGE],
    cells,
    validate,
    validate_update,
    ..KindRow::BASE
};

const SIZE_MAX: usize = 1 << 20;

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let entries = members(object, &["data"]).count() + members(object, &["binaryData"]).count();
    vec![name(object), entries.into(), age(object, now)]
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    let mut size = 0;
    for part in ["data", "binaryData"] {
        for (key, value) in members(object, &[part]) {
            let path = field::key(part, key);
            let of = |fault: String| field::invalid(&path, key.as_str(), &fault);
            causes.extend(names::config_key(key).into_iter().map(of));
            let length = value.as_str().map_or(0, str::len);
            size += if part == "data" { length } else { length / 4 * 3 };
            if part == "data" && at(object, &["binaryData", key]).is_some() {
                causes.push(field::invalid(&path, key.as_str(), "duplicate of key present in binaryData"));
            }
        }
    }
    if size > SIZE_MAX {
        causes.push(field::too_long("", SIZE_MAX));
    }
    causes
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    immutable(new, old, &["data", "binaryData"])
}

/// Faults of a change of something marked immutable, for ConfigMap and Secret.
pub(super) fn immutable(new: &Value, old: &Value, parts: &[&'static str]) -> Faults {
    const SET: &str = "field is immutable when `immutable` is set";
    let mut causes = Faults::new();
    if old.get("immutable") != Some(&Value::Bool(true)) {
        return causes;
    }
    if new.get("immutable") != Some(&Value::Bool(true)) {
        causes.push(field::forbidden("immutable", SET));
    }
    for part in parts {
        if new.get(part) != old.get(part) {
            causes.push(field::forbidden(*part, SET));
        }
    }
    causes
}
