//! Annotations of pods and templates that mean something, from before there were fields for it.

use super::place::{Faults, Place};
use super::pod_spec;
use super::value::members;
use hako_kube::field;
use serde_json::Value;

const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const PATH: &str = "metadata.annotations";

/// All faults of the annotations of something with a pod's spec.
pub(super) fn validate(metadata: &Place<'_>, spec: &Place<'_>, path: &str, faults: &mut Faults) {
    let of = |key: &str| metadata.at(&["annotations"]).value.get(key).and_then(Value::as_str);
    if let Some(value) = of(MIRROR)
        && spec.at(&["nodeName"]).is_empty()
    {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        faults.push(field::invalid(field::key(path, MIRROR), value, detail));
    }
    if let Some(cost) = of(DELETION_COST)
        && !is_cost(cost)
    {
        faults.push(field::invalid(field::key(path, DELETION_COST), cost, "must be a 32bit integer"));
    }
    pod_spec::profile_annotations(metadata, spec, path, faults);
}

/// A number with a sign only where it is below zero, and without zeros before it.
fn is_cost(text: &str) -> bool {
    text.parse::<i32>().is_ok_and(|cost| cost.to_string() == text)
}

/// Faults of changes of annotations: what was said once about a pod stays said.
pub(super) fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    let get = |pod: &Value, key: &str| pod["metadata"]["annotations"].get(key).cloned();
    for (key, was) in members(old, &["metadata", "annotations"]) {
        if let (Some(what), true) = (what(key), get(new, key).as_ref() != Some(was)) {
            causes.push(field::forbidden(field::key(PATH, key), &format!("may not remove or update {what}")));
        }
    }
    for (key, _) in members(new, &["metadata", "annotations"]) {
        if let (Some(what), None) = (what(key), get(old, key)) {
            causes.push(field::forbidden(field::key(PATH, key), &format!("may not add {what}")));
        }
    }
    causes
}

/// What an annotation that never changes is called.
fn what(key: &str) -> Option<&'static str> {
    match key {
        MIRROR => Some("mirror pod annotation"),
        key if key.starts_with(APP_ARMOR) => Some("AppArmor annotations"),
        _ => None,
    }
}

/// Whether a node made the pod of a file of its own.
pub(super) fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"].get(MIRROR).is_some()
}
