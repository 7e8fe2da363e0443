//! Scheduling gates: what a pod waits for before it is scheduled.

use super::value::{at, items, text};
use hako_kube::{
    field::{self, Faults},
    names,
};
use serde_json::{Value, json};
use std::collections::HashSet;

const PATH: &str = "spec.schedulingGates";

/// The condition that a pod with gates begins with; none without gates.
pub(super) fn condition(pod: &Value) -> Option<Value> {
    (!items(pod, &["spec", "schedulingGates"]).is_empty()).then(|| {
        json!({
            "type": "PodScheduled", "status": "False", "lastProbeTime": null, "lastTransitionTime": null,
            "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates",
        })
    })
}

/// Faults of the gates at `path` of a spec, of a pod or of a template.
pub(super) fn validate(spec: &Value, path: &str) -> Faults {
    let (gates, mut causes) = (items(spec, &["schedulingGates"]), Faults::new());
    let mut seen = HashSet::new();
    for (index, gate) in gates.iter().enumerate() {
        let (path, name) = (field::index(path, index), text(gate, &["name"]));
        let of = |fault: String| field::invalid(&path, name, &fault);
        causes.extend(names::qualified_name(name).into_iter().map(of));
        if !seen.insert(name) {
            causes.push(field::duplicate(&path, name));
        }
    }
    causes
}

/// Gates and a node exclude each other, whoever sets them.
pub(super) fn validate_node(pod: &Value) -> Faults {
    let is_bound =
        at(pod, &["spec", "nodeName"]).and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if is_bound && !items(pod, &["spec", "schedulingGates"]).is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        return Faults::from([field::forbidden("spec.nodeName", detail)]);
    }
    Faults::new()
}

/// Gates are given at creation and only ever taken away.
pub(super) fn validate_update(new: &Value, old: &Value) -> Faults {
    let had: HashSet<&str> =
        items(old, &["spec", "schedulingGates"]).iter().map(|gate| text(gate, &["name"])).collect();
    let gates = items(new, &["spec", "schedulingGates"]).iter().map(|gate| text(gate, &["name"])).enumerate();
    let of = |(index, name): (usize, &str)| {
        let path = field::child(&field::index(PATH, index), "name");
        field::forbidden(path, &format!("only deletion is allowed, but found new scheduling gate '{name}'"))
    };
    gates.filter(|(_, name)| !had.contains(name)).map(of).collect()
}
