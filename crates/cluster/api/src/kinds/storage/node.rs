//! `CSINode`.

use super::super::check;
use super::super::columns::{Column, age, name};
use super::super::row::{KindRow, Scope};
use super::super::value::{items, text};
use super::GROUP;
use hako_kube::{
    field::{self, Faults},
    names,
};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

pub(in super::super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "CSINode",
    plural: "csinodes",
    singular: "csinode",
    scope: Scope::Cluster,
    type_name: "io.k8s.api.storage.v1.CSINode",
    columns: &[
        Column::NAME,
        Column::number("Drivers", "Drivers indicates the number of CSI drivers registered on the node"),
        Column::AGE,
    ],
    cells,
    validate,
    validate_update,
    ..KindRow::BASE
};

const NODE_ID_MAX: usize = 256;

fn drivers(object: &Value) -> &[Value] {
    items(object, &["spec", "drivers"])
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), drivers(object).len().into(), age(object, now)]
}

fn validate(object: &Value) -> Faults {
    let (mut causes, all) = (Faults::new(), drivers(object));
    let mut seen = HashSet::new();
    for (index, one) in all.iter().enumerate() {
        let (path, name) = (field::index("spec.drivers", index), text(one, &["name"]));
        driver(one, &path, &mut causes);
        if !seen.insert(name) {
            causes.push(field::duplicate(field::child(&path, "name"), name));
        }
    }
    causes
}

fn driver(driver: &Value, path: &str, causes: &mut Faults) {
    check::driver(text(driver, &["name"]), &field::child(path, "name"), causes);
    let (id, id_path) = (text(driver, &["nodeID"]), field::child(path, "nodeID"));
    if id.is_empty() {
        causes.push(field::required(&id_path, ""));
    }
    if id.len() > NODE_ID_MAX {
        causes.push(field::invalid(id_path, id, &format!("must be {NODE_ID_MAX} characters or less")));
    }
    check::not_negative(&driver["allocatable"], &["count"], &field::child(path, "allocatable"), causes);
    let keys = items(driver, &["topologyKeys"]);
    let mut seen = HashSet::new();
    for key in keys {
        let text = key.as_str().unwrap_or("");
        if text.is_empty() {
            causes.push(field::required(path, ""));
        }
        if !seen.insert(key) {
            causes.push(field::duplicate(path, text));
        }
        check::syntax(names::qualified_name(text), text, path, causes);
    }
}

/// Of a driver that stays, only what it can take changes.
fn validate_update(new: &Value, old: &Value) -> Faults {
    let fixed = |driver: &Value| {
        let mut driver = driver.clone();
        if let Some(map) = driver.as_object_mut() {
            map.remove("allocatable");
        }
        driver
    };
    // Of a name that is there twice, the first counts.
    let had: HashMap<&str, &Value> =
        drivers(old).iter().rev().map(|before| (text(before, &["name"]), before)).collect();
    let was = |driver: &&Value| {
        let before = had.get(text(driver, &["name"]));
        before.is_some_and(|before| fixed(before) != fixed(driver))
    };
    let of = |driver: &Value| field::invalid("spec.drivers", fixed(driver), check::IMMUTABLE);
    drivers(new).iter().filter(was).map(of).collect()
}
