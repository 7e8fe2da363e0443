//! `events.k8s.io` `Event`: the same objects as those of the core group, with other names for what they say.

use super::event;
use super::row::{KindRow, Stored};
use super::value::{at, number, text};
use hako_kube::field::{self, Faults};
use jiff::Timestamp;
use serde_json::{Map, Value};

pub(super) const ROW: KindRow = KindRow {
    group: "events.k8s.io",
    type_name: "io.k8s.api.events.v1.Event",
    cells,
    validate,
    validate_create,
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

/// As upstream tells it, faults name the members of the core group.
fn validate(object: &Value) -> Faults {
    event::faults(&core(object), "reportingController")
}

/// What is older than this group is not made through it. What upstream means to keep fixed in an update it compares with itself.
fn validate_create(object: &Value) -> Faults {
    let object = core(object);
    let mut causes = series(&object);
    if !is_set(&object, "eventTime") {
        causes.push(field::required("eventTime", ""));
    }
    let kind = text(&object, &["type"]);
    if !matches!(kind, "Normal" | "Warning") {
        causes.push(field::invalid("type", "", &format!("has invalid value: {kind}")));
    }
    let is_from = ["component", "host"].iter().any(|name| !text(&object, &["source", name]).is_empty());
    for (name, is_set) in [
        ("firstTimestamp", is_set(&object, "firstTimestamp")),
        ("lastTimestamp", is_set(&object, "lastTimestamp")),
        ("count", number(&object, &["count"]).is_some_and(|count| count != 0)),
        ("source", is_from),
    ] {
        if is_set {
            causes.push(field::invalid(name, "", "needs to be unset"));
        }
    }
    causes
}

fn series(object: &Value) -> Faults {
    let mut causes = Faults::new();
    if is_set(object, "series") {
        if number(object, &["series", "count"]).unwrap_or(0) < 2 {
            causes.push(field::invalid("series.count", "", "should be at least 2"));
        }
        if at(object, &["series", "lastObservedTime"]).is_none_or(Value::is_null) {
            causes.push(field::required("series.lastObservedTime", ""));
        }
    }
    causes
}

fn is_set(object: &Value, name: &str) -> bool {
    object.get(name).is_some_and(|value| !value.is_null())
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
