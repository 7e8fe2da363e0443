//! What is measured.

use super::super::check;
use super::super::place::{Faults, Place};
use super::super::value::{at, items, text};
use super::reference;
use hako_kube::field;
use serde_json::Value;

/// The types of metrics, and where each keeps its target.
const TYPES: &[(&str, &str)] = &[
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

/// Faults of one metric.
pub(super) fn validate(metric: &Place<'_>, faults: &mut Faults) {
    let kind = metric.at(&["type"]);
    let names: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
    let Some((_, member)) = TYPES.iter().find(|(name, _)| *name == kind.text()) else {
        faults.push(if kind.text().is_empty() {
            kind.required("must specify a metric source type")
        } else {
            kind.not_supported(&names)
        });
        return;
    };
    let given: Vec<&str> =
        TYPES.iter().map(|(_, member)| *member).filter(|member| metric.at(&[member]).is_set()).collect();
    let source = metric.at(&[member]);
    if !source.is_set() {
        faults.push(source.required("must populate information for the given metric source"));
    }
    for other in given.iter().filter(|other| *other != member) {
        faults.push(metric.at(&[other]).forbidden("must populate the given metric source only"));
    }
    if !source.is_set() {
        return;
    }
    self::source(&source, member, faults);
}

fn source(source: &Place<'_>, member: &str, faults: &mut Faults) {
    let required = |names: &[&str], faults: &mut Faults| {
        let place = source.at(names);
        if place.text().is_empty() {
            faults.push(place.required(""));
        }
    };
    match member {
        "object" => {
            reference(&source.at(&["describedObject"]), faults);
            required(&["metric", "name"], faults);
        }
        "pods" | "external" => required(&["metric", "name"], faults),
        "containerResource" => {
            required(&["name"], faults);
            required(&["container"], faults);
        }
        _ => required(&["name"], faults),
    }
    target(&source.at(&["target"]), member, faults);
}

fn target(target: &Place<'_>, member: &str, faults: &mut Faults) {
    let kind = target.at(&["type"]);
    match kind.text() {
        "" => faults.push(kind.required("must specify a metric target type")),
        "Utilization" | "Value" | "AverageValue" => {}
        _ => faults.push(kind.invalid("must be either Utilization, Value, or AverageValue")),
    }
    let utilization = target.at(&["averageUtilization"]);
    if utilization.is_set() && utilization.number() < 1 {
        faults.push(utilization.invalid("must be greater than 0"));
    }
    for name in ["value", "averageValue"] {
        let place = target.at(&[name]);
        if check::quantity(Some(place.value)).is_some_and(|amount| amount.millis() <= 0) {
            faults.push(place.invalid("must be positive"));
        }
    }
    let is_set = |name: &str| target.at(&[name]).is_set();
    let (wanted, detail): (&[&str], &str) = match member {
        "resource" | "containerResource" => (
            &["averageUtilization", "averageValue"],
            "must set either a target raw value or a target utilization",
        ),
        "pods" => (&["averageValue"], "must specify a positive target averageValue"),
        _ => (&["value", "averageValue"], "must set either a target value for metric or a per-pod target"),
    };
    match wanted.iter().filter(|name| is_set(name)).count() {
        0 => faults.push(target.at(&[wanted[0]]).required(detail)),
        1 => {}
        _ => faults.push(target.at(&[wanted[0]]).forbidden("may not set both a target value and an average")),
    }
}

/// Current and wanted values, as a table shows them.
pub(super) fn cell(object: &Value, most: usize) -> String {
    let wanted = items(object, &["spec", "metrics"]);
    if wanted.is_empty() {
        return "<none>".to_owned();
    }
    let current = items(object, &["status", "currentMetrics"]);
    let shown: Vec<String> =
        wanted.iter().take(most).enumerate().map(|(index, metric)| one(metric, current.get(index))).collect();
    let more = wanted.len().saturating_sub(most);
    if more > 0 { format!("{} + {more} more...", shown.join(", ")) } else { shown.join(", ") }
}

fn one(metric: &Value, current: Option<&Value>) -> String {
    let kind = text(metric, &["type"]);
    let member = TYPES.iter().find(|(name, _)| *name == kind).map_or("", |(_, member)| *member);
    let wanted = at(metric, &[member, "target"]);
    let current = current.and_then(|current| at(current, &[member, "current"]));
    let value = |target: Option<&Value>, name: &str| {
        target.and_then(|target| target.get(name)).filter(|value| !value.is_null()).cloned()
    };
    let show = |value: Option<Value>, unit: &str| match value {
        Some(Value::String(text)) => text + unit,
        Some(other) => format!("{other}{unit}"),
        None => "<unknown>".to_owned(),
    };
    let (name, unit, average) = if value(wanted, "averageUtilization").is_some() {
        ("averageUtilization", "%", "")
    } else if value(wanted, "averageValue").is_some() {
        ("averageValue", "", if matches!(kind, "External" | "Object") { " (avg)" } else { "" })
    } else {
        ("value", "", "")
    };
    let pair = format!("{}/{}{average}", show(value(current, name), unit), show(value(wanted, name), unit));
    match kind {
        "Resource" => format!("{}: {pair}", text(metric, &[member, "name"])),
        "ContainerResource" => {
            let path = field::child(text(metric, &[member, "container"]), text(metric, &[member, "name"]));
            format!("{}: {pair}", path.replace('.', "/"))
        }
        _ => pair,
    }
}
