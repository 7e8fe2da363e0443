//! The first version: one target for the use of CPU. What it cannot say is in annotations, so that an object that is read
//! and written in this version loses nothing.

use super::super::row::{KindRow, Stored, Subresource};
use super::super::value::{object_mut, set_default};
use super::{GROUP, KIND, V2};
use hako_kube::field::Faults;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub(in crate::kinds) const ROW: KindRow = KindRow {
    version: "v1",
    subresources: &[Subresource::status(GROUP, "v1", KIND)],
    type_name: "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
    cells,
    default,
    validate,
    stored: Some(Stored { group: GROUP, version: "v2", read, write }),
    ..V2
};

const TARGET: &str = "targetCPUUtilizationPercentage";
const CURRENT: &str = "currentCPUUtilizationPercentage";
/// Annotation, where it stands in v2.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, &["spec"]) {
        set_default(spec, "minReplicas", 1);
    }
}

/// The object in the version kept.
fn second(object: &Value) -> Value {
    let mut object = object.clone();
    write(&mut object);
    (V2.default)(&mut object);
    object
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    (V2.cells)(&second(object), now)
}

fn validate(object: &Value) -> Faults {
    (V2.validate)(&second(object))
}

fn is_cpu(metric: &Value) -> bool {
    metric.pointer("/resource/name").and_then(Value::as_str) == Some("cpu")
}

fn read(object: &mut Value) {
    let mut notes = Map::new();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let mut metrics = taken_list(spec, "metrics");
        let is_target = |metric: &Value| {
            is_cpu(metric)
                && metric.pointer("/resource/target/averageUtilization").is_some_and(Value::is_number)
        };
        if let Some(at) = metrics.iter().position(is_target) {
            let metric = metrics.remove(at);
            let target = metric.pointer("/resource/target/averageUtilization").cloned().unwrap_or_default();
            spec.insert(TARGET.to_owned(), target);
        }
        note(&mut notes, METRICS, Value::Array(metrics));
        note(&mut notes, BEHAVIOR, spec.remove("behavior").unwrap_or_default());
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let mut metrics = taken_list(status, "currentMetrics");
        let path = "/resource/current/averageUtilization";
        let is_current =
            |metric: &Value| is_cpu(metric) && metric.pointer(path).is_some_and(Value::is_number);
        if let Some(at) = metrics.iter().position(is_current) {
            let metric = metrics.remove(at);
            status.insert(CURRENT.to_owned(), metric.pointer(path).cloned().unwrap_or_default());
        }
        note(&mut notes, CURRENT_METRICS, Value::Array(metrics));
        let conditions = taken_list(status, "conditions");
        note(&mut notes, CONDITIONS, Value::Array(conditions));
    }
    if !notes.is_empty()
        && let Some(annotations) = object_mut(object, &["metadata", "annotations"])
    {
        annotations.extend(notes);
    }
}

fn taken_list(map: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match map.remove(name) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn note(notes: &mut Map<String, Value>, name: &str, value: Value) {
    let is_nothing = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    if !is_nothing {
        notes.insert(name.to_owned(), value.to_string().into());
    }
}

/// What an annotation says, taken out of it. One that is no JSON says nothing, as it does to others.
fn noted(object: &mut Value, name: &str) -> Option<Value> {
    let annotations = object.pointer_mut("/metadata/annotations")?.as_object_mut()?;
    let text = annotations.shift_remove(name)?;
    let value = serde_json::from_str(text.as_str()?).ok();
    if annotations.is_empty()
        && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.shift_remove("annotations");
    }
    value
}

fn write(object: &mut Value) {
    let list = |value: Option<Value>| match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let mut metrics = list(noted(object, METRICS));
    let mut current = list(noted(object, CURRENT_METRICS));
    let (conditions, behavior) = (noted(object, CONDITIONS), noted(object, BEHAVIOR));
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(percent) = spec.remove(TARGET).filter(Value::is_number) {
            let target = json!({"type": "Utilization", "averageUtilization": percent});
            metrics.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        }
        if !metrics.is_empty() {
            spec.insert("metrics".to_owned(), metrics.into());
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".to_owned(), behavior);
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        if let Some(percent) = status.remove(CURRENT).filter(Value::is_number) {
            let value = json!({"averageUtilization": percent, "averageValue": "0"});
            current.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "current": value}}));
        }
        if !current.is_empty() {
            status.insert("currentMetrics".to_owned(), current.into());
        }
        if let Some(conditions) = conditions {
            status.insert("conditions".to_owned(), conditions);
        }
    }
}
