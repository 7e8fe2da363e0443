//! `ControllerRevision`: what a `StatefulSet` or `DaemonSet` looked like once.

use super::check;
use super::columns::{Column, age, name};
use super::row::KindRow;
use super::value::{items, number, text};
use hako_kube::{
    GroupVersion,
    field::{self, Faults},
};
use jiff::Timestamp;
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    group: "apps",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    type_name: "io.k8s.api.apps.v1.ControllerRevision",
    columns: &[
        Column::NAME,
        Column::text("Controller", "Controller of the object"),
        Column::text("Revision", "Which of the states it is."),
        Column::AGE,
    ],
    cells,
    validate,
    validate_update,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let revision = number(object, &["revision"]).unwrap_or(0);
    vec![name(object), controller(object).into(), revision.into(), age(object, now)]
}

/// The controller as `kind.group/name`.
fn controller(object: &Value) -> String {
    let owners = items(object, &["metadata", "ownerReferences"]);
    let Some(owner) = owners.iter().find(|owner| owner["controller"] == Value::Bool(true)) else {
        return "<none>".to_owned();
    };
    let group = GroupVersion::parse(text(owner, &["apiVersion"])).map(|it| it.group).unwrap_or_default();
    let dot = if group.is_empty() { "" } else { "." };
    let kind = text(owner, &["kind"]).to_lowercase();
    format!("{kind}{dot}{group}/{}", text(owner, &["name"]))
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    if object.get("data").is_none() {
        causes.push(field::required("data", "data is mandatory"));
    }
    check::not_negative(object, &["revision"], "", &mut causes);
    causes
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    check::immutable(new, old, &["data"], "", &mut causes);
    causes
}
