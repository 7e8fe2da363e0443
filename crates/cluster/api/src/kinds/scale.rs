//! `autoscaling/v1` `Scale`: the replicas of any workload in one shape.

use super::value::{at, number, object_mut, text};
use hako_error::FieldCause;
use hako_kube::{LabelSelector, Selector, field};
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The scale of a workload.
#[must_use]
pub fn of(object: &Value) -> Value {
    let meta = |name: &str| at(object, &["metadata", name]).cloned().unwrap_or(Value::Null);
    let selector = at(object, &["spec", "selector"]).and_then(selector);
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta("name"),
            "namespace": meta("namespace"),
            "uid": meta("uid"),
            "resourceVersion": meta("resourceVersion"),
            "creationTimestamp": meta("creationTimestamp"),
        },
        "spec": { "replicas": number(object, &["spec", "replicas"]).unwrap_or(0) },
        "status": { "replicas": number(object, &["status", "replicas"]).unwrap_or(0) },
    });
    if let (Some(selector), Some(status)) = (selector, object_mut(&mut scale, &["status"])) {
        status.insert("selector".to_owned(), selector.to_string().into());
    }
    scale
}

/// A selector as it is structured, or as the plain labels of a replication controller.
fn selector(selector: &Value) -> Option<Selector> {
    let labels: Option<BTreeMap<String, String>> = BTreeMap::deserialize(selector).ok();
    match labels {
        Some(labels) if !labels.is_empty() => Some(Selector::from_labels(&labels)),
        _ => LabelSelector::deserialize(selector).ok()?.selector().ok(),
    }
}

/// Sets a workload's replicas to those of a scale.
///
/// # Errors
/// The faulty fields of the scale; the workload is unchanged then.
pub fn apply(object: &mut Value, scale: &Value) -> Result<(), Vec<FieldCause>> {
    let replicas = number(scale, &["spec", "replicas"]).unwrap_or(0);
    let name = text(scale, &["metadata", "name"]);
    if !name.is_empty() && name != text(object, &["metadata", "name"]) {
        return Err(vec![field::invalid("metadata.name", name, "field is immutable")]);
    }
    if replicas < 0 {
        return Err(vec![field::invalid("spec.replicas", replicas, "must be greater than or equal to 0")]);
    }
    if let Some(spec) = object_mut(object, &["spec"]) {
        spec.insert("replicas".to_owned(), replicas.into());
    }
    Ok(())
}
