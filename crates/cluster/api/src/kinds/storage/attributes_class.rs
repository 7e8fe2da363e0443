//! `VolumeAttributesClass`.

use super::super::columns::{Column, age};
use super::super::row::{KindRow, Scope};
use super::super::value::{members, text};
use super::{GROUP, class_name, kept, parameters, provisioner};
use hako_kube::field::{self, Faults};
use jiff::Timestamp;
use serde_json::Value;

pub(in super::super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "VolumeAttributesClass",
    plural: "volumeattributesclasses",
    singular: "volumeattributesclass",
    short_names: &["vac"],
    scope: Scope::Cluster,
    type_name: "io.k8s.api.storage.v1.VolumeAttributesClass",
    columns: &[
        Column::NAME,
        Column::text("DriverName", "The driver that knows the attributes."),
        Column::AGE,
    ],
    cells,
    validate,
    validate_update,
    ..KindRow::BASE
};

const IS_DEFAULT: &[&str] = &["volumeattributesclass.alpha.kubernetes.io/is-default-class"];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![class_name(object, IS_DEFAULT), text(object, &["driverName"]).into(), age(object, now)]
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    provisioner(object, "driverName", &mut causes);
    parameters(object, &mut causes);
    if members(object, &["parameters"]).next().is_none() {
        causes.push(field::required("parameters", "must contain at least one key/value pair"));
    }
    causes
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    kept(new, old, &["driverName", "parameters"])
}
