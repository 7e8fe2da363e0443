//! `Event`.

use super::columns::{Column, since};
use super::row::KindRow;
use super::value::{at, number, text};
use hako_kube::field::{self, Faults};
use hako_kube::names;
use jiff::Timestamp;
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    type_name: "io.k8s.api.core.v1.Event",
    columns: &[
        Column::text("Last Seen", "When it happened last."),
        Column::text("Type", "Normal or Warning."),
        Column::text("Reason", "Why, for programs."),
        Column::text("Object", "What it happened to."),
        Column::text("Subobject", "Which part of it.").wide(),
        Column::text("Source", "Who reported it.").wide(),
        Column::text("Message", "What happened, for people."),
        Column::text("First Seen", "When it happened first.").wide(),
        Column::number("Count", "How often it happened.").wide(),
        Column { priority: 1, ..Column::NAME },
    ],
    cells,
    validate,
    selectable,
    selectable_fields: &[
        "involvedObject.apiVersion",
        "involvedObject.fieldPath",
        "involvedObject.kind",
        "involvedObject.name",
        "involvedObject.namespace",
        "involvedObject.resourceVersion",
        "involvedObject.uid",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ],
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let first_at = object.get("firstTimestamp").filter(|at| !at.is_null());
    let first = since(first_at.or_else(|| object.get("eventTime")), now);
    let last = match (at(object, &["series", "lastObservedTime"]), object.get("lastTimestamp")) {
        (Some(at), _) => since(Some(at), now),
        (None, at @ Some(Value::String(_))) => since(at, now),
        _ => first.clone(),
    };
    let series = number(object, &["series", "count"]);
    let count = series.unwrap_or_else(|| number(object, &["count"]).filter(|count| *count > 0).unwrap_or(1));
    let kind = text(object, &["involvedObject", "kind"]).to_lowercase();
    let target = match kind.as_str() {
        "" => text(object, &["involvedObject", "name"]).to_owned(),
        kind => format!("{kind}/{}", text(object, &["involvedObject", "name"])),
    };
    vec![
        last.into(),
        text(object, &["type"]).into(),
        text(object, &["reason"]).into(),
        target.into(),
        text(object, &["involvedObject", "fieldPath"]).into(),
        source(object).into(),
        text(object, &["message"]).trim().into(),
        first.into(),
        count.into(),
        text(object, &["metadata", "name"]).into(),
    ]
}

fn source(object: &Value) -> String {
    let pick = |old: &[&str], new: &str| {
        let value = text(object, old);
        if value.is_empty() { text(object, &[new]) } else { value }.to_owned()
    };
    let component = pick(&["source", "component"], "reportingComponent");
    let host = pick(&["source", "host"], "reportingInstance");
    if host.is_empty() { component } else { format!("{component}, {host}") }
}

fn validate(object: &Value) -> Faults {
    faults(object, "reportingComponent")
}

/// What is wrong with an event as the core group has it, whichever group it was written through: what reported it is called
/// as there.
pub(super) fn faults(object: &Value, reporter: &str) -> Faults {
    let mut causes = Faults::new();
    let namespace = text(object, &["metadata", "namespace"]);
    let involved = text(object, &["involvedObject", "namespace"]);
    // Those of older clients have none.
    let is_timed = object.get("eventTime").is_some_and(|at| !at.is_null());
    let is_sound = match involved {
        "" => namespace == "default" || is_timed && namespace == "kube-system",
        involved => is_timed || involved == namespace,
    };
    if !is_sound {
        causes.push(field::invalid("involvedObject.namespace", involved, "does not match event.namespace"));
    }
    if !is_timed {
        return causes;
    }
    let who = text(object, &["reportingComponent"]);
    if who.is_empty() {
        causes.push(field::required(reporter, ""));
    }
    causes.extend(names::qualified_name(who).into_iter().map(|fault| field::invalid(reporter, who, &fault)));
    for (name, most) in [("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024)] {
        let value = text(object, &[name]);
        if value.is_empty() && name != "message" {
            causes.push(field::required(name, ""));
        }
        if value.len() > most {
            causes.push(field::invalid(name, "", &format!("can have at most {most} characters")));
        }
    }
    causes
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    let get = |path: &[&str]| text(object, path).to_owned();
    let source = match get(&["source", "component"]) {
        none if none.is_empty() => get(&["reportingComponent"]),
        component => component,
    };
    vec![
        ("involvedObject.apiVersion", get(&["involvedObject", "apiVersion"])),
        ("involvedObject.fieldPath", get(&["involvedObject", "fieldPath"])),
        ("involvedObject.kind", get(&["involvedObject", "kind"])),
        ("involvedObject.name", get(&["involvedObject", "name"])),
        ("involvedObject.namespace", get(&["involvedObject", "namespace"])),
        ("involvedObject.resourceVersion", get(&["involvedObject", "resourceVersion"])),
        ("involvedObject.uid", get(&["involvedObject", "uid"])),
        ("reason", get(&["reason"])),
        ("reportingComponent", get(&["reportingComponent"])),
        ("source", source),
        ("type", get(&["type"])),
    ]
}
