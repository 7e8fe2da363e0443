//! What is measured.

use super::super::check;
use super::super::place::{Faults, Place, path_segment};
use super::super::resource_names;
use super::super::value::{at, items, text};
use super::reference;
use hako_kube::{field, names};
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
    let wanted = TYPES.iter().find(|(name, _)| *name == kind.text()).map(|(_, member)| *member);
    if kind.text().is_empty() {
        faults.push(kind.required("must specify a metric source type"));
    }
    if wanted.is_none() {
        faults.push(kind.not_supported(&names));
    }
    first_source(metric, faults);
    if let Some(wanted) = wanted.map(|wanted| metric.at(&[wanted])).filter(|wanted| !wanted.is_set()) {
        faults.push(wanted.required("must populate information for the given metric source"));
    }
    let given: Vec<&str> = given(metric).collect();
    for other in given.iter().filter(|other| given.len() > 1 && Some(**other) != wanted) {
        faults.push(metric.at(&[other]).forbidden("must populate the given metric source only"));
    }
}

/// The members that keep a target, in the order in which they are looked at.
fn given(metric: &Place<'_>) -> impl Iterator<Item = &'static str> {
    ["object", "external", "pods", "resource", "containerResource"]
        .into_iter()
        .filter(move |member| metric.at(&[member]).is_set())
}

/// Faults of the first source there is. Of the others there is nothing to say but that they are too many.
fn first_source(metric: &Place<'_>, faults: &mut Faults) {
    if let Some(member) = given(metric).next() {
        source(&metric.at(&[member]), member, faults);
    }
}

fn source(source: &Place<'_>, member: &str, faults: &mut Faults) {
    match member {
        "object" => {
            reference(&source.at(&["describedObject"]), faults);
            metric(&source.at(&["metric"]), faults);
        }
        "pods" | "external" => metric(&source.at(&["metric"]), faults),
        _ => {
            let (name, container) = (source.at(&["name"]), source.at(&["container"]));
            if name.is_empty() {
                faults.push(name.required("must specify a resource name"));
            }
            if member == "containerResource" {
                if !name.is_empty() {
                    resource_names::of_container(name.text(), name.path().as_str(), faults);
                }
                match container.text() {
                    "" => faults.push(container.required("must specify a container")),
                    _ => container.check(names::dns_label, faults),
                }
            }
        }
    }
    target(&source.at(&["target"]), member, faults);
}

/// What is measured: its name, and of what.
fn metric(metric: &Place<'_>, faults: &mut Faults) {
    let name = metric.at(&["name"]);
    if name.is_empty() {
        faults.push(name.required("must specify a metric name"));
    } else {
        name.check(path_segment, faults);
    }
    metric.at(&["selector"]).selector(faults);
}

fn target(target: &Place<'_>, member: &str, faults: &mut Faults) {
    let kind = target.at(&["type"]);
    match kind.text() {
        "Utilization" | "Value" | "AverageValue" => {}
        other => {
            if other.is_empty() {
                faults.push(kind.required("must specify a metric target type"));
            }
            faults.push(kind.invalid_text("must be either Utilization, Value, or AverageValue"));
        }
    }
    let (utilization, value) = (target.at(&["averageUtilization"]), target.at(&["value"]));
    let average = target.at(&["averageValue"]);
    if utilization.is_set() && utilization.number() < 1 {
        faults.push(utilization.invalid("must be greater than 0"));
    }
    for place in [&value, &average] {
        if check::quantity(Some(place.value)).is_some_and(|amount| amount.millis() <= 0) {
            faults.push(place.invalid("must be positive"));
        }
    }
    match member {
        "resource" | "containerResource" => match (utilization.is_set(), average.is_set()) {
            (false, false) => {
                let detail = "must set either a target raw value or a target utilization";
                faults.push(utilization.required(detail));
            }
            (true, true) => {
                let detail = "may not set both a target raw value and a target utilization";
                faults.push(average.forbidden(detail));
            }
            _ => {}
        },
        "pods" if check::quantity(Some(average.value)).is_none_or(|amount| amount.millis() <= 0) => {
            faults.push(average.required("must specify a positive target averageValue"));
        }
        "object" if !value.is_set() && !average.is_set() => {
            faults.push(average.required("must set either a target value or averageValue"));
        }
        "external" => match (value.is_set(), average.is_set()) {
            (false, false) => {
                let detail = "must set either a target value for metric or a per-pod target";
                faults.push(average.required(detail));
            }
            (true, true) => {
                let detail = "may not set both a target value for metric and a per-pod target";
                faults.push(value.forbidden(detail));
            }
            _ => {}
        },
        _ => {}
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
