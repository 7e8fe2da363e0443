//! `events.k8s.io` `Event`: the same objects as those of the core group, with other names for what they say.

use super::event;
use super::row::{KindRow, Stored};
use super::value::{at, text};
use hako_kube::{
    field::{self, Faults},
    names,
};
use jiff::Timestamp;
use serde_json::{Map, Value};

pub(super) const ROW: KindRow = KindRow {
    group: "events.k8s.io",
    type_name: "io.k8s.api.events.v1.Event",
    cells,
    validate,
    selectable,
    selectable_fields: &[
        "reason",
        "regarding.apiVersion",
        "regarding.fieldPath",
        "regarding.kind",
        "regarding.name",
        "regarding.namespace",
        "regarding.resourceVersion",
        "regarding.uid",
        "reportingController",
        "type",
    ],
    stored: Some(Stored { group: "", version: "v1", read, write }),
    ..event::ROW
};

/// Names of the core group and of this one.
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn renamed(object: &mut Value, pairs: impl Iterator<Item = (&'static str, &'static str)>) {
    let Some(map) = object.as_object_mut() else { return };
    let pairs: Vec<(&str, &str)> = pairs.collect();
    let old: Map<String, Value> = std::mem::take(map);
    for (name, value) in old {
        let new = pairs.iter().find(|(from, _)| *from == name).map_or(name.as_str(), |(_, to)| to);
        map.insert(new.to_owned(), value);
    }
}

fn read(object: &mut Value) {
    renamed(object, NAMES.iter().copied());
}

fn write(object: &mut Value) {
    renamed(object, NAMES.iter().map(|(core, own)| (*own, *core)));
}

/// The object as the core group has it.
fn core(object: &Value) -> Value {
    let mut object = object.clone();
    write(&mut object);
    object
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    (event::ROW.cells)(&core(object), now)
}

/// What client libraries of this version always set: an event without it is from an older one, in the wrong group.
fn validate(object: &Value) -> Faults {
    let mut causes = (event::ROW.validate)(&core(object));
    if at(object, &["eventTime"]).is_none_or(Value::is_null) {
        // Written through the core group, and only passed on here.
        return causes;
    }
    for (name, most) in [("reportingInstance", 128), ("action", 128), ("reason", 128), ("note", 1024)] {
        let value = text(object, &[name]);
        if value.is_empty() && name != "note" {
            causes.push(field::required(name, ""));
        }
        if value.len() > most {
            causes.push(field::too_long(name, most));
        }
    }
    let controller = text(object, &["reportingController"]);
    if controller.is_empty() {
        causes.push(field::required("reportingController", ""));
    }
    let of = |fault: String| field::invalid("reportingController", controller, &fault);
    causes.extend(names::qualified_name(controller).into_iter().filter(|_| !controller.is_empty()).map(of));
    let kind = text(object, &["type"]);
    if !matches!(kind, "Normal" | "Warning") {
        causes.push(field::invalid("type", kind, "has invalid value: "));
    }
    causes
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    let of = |name: &str| text(object, &["regarding", name]).to_owned();
    vec![
        ("reason", text(object, &["reason"]).to_owned()),
        ("regarding.apiVersion", of("apiVersion")),
        ("regarding.fieldPath", of("fieldPath")),
        ("regarding.kind", of("kind")),
        ("regarding.name", of("name")),
        ("regarding.namespace", of("namespace")),
        ("regarding.resourceVersion", of("resourceVersion")),
        ("regarding.uid", of("uid")),
        ("reportingController", text(object, &["reportingController"]).to_owned()),
        ("type", text(object, &["type"]).to_owned()),
    ]
}
