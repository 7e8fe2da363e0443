//! Which objects a quota is about, by its scopes.

use serde_json::Value;

use super::selectors;
use super::usage::{Evaluator, Kind};
use crate::admission::plugin::{items, text};
use crate::kinds;

/// Whether an object is in all scopes of a quota. Only pods and claims are in any.
pub(super) fn matches(evaluator: &Evaluator, quota: &Value, object: &Value) -> bool {
    selectors(quota).iter().all(|(scope, operator, values)| match evaluator.kind {
        Kind::Pod => pod_is_in(object, scope, operator, values),
        Kind::Claim if *scope == "VolumeAttributesClass" => {
            named(text(object, "/spec/volumeAttributesClassName"), operator, values)
        }
        _ => false,
    })
}

fn pod_is_in(pod: &Value, scope: &str, operator: &str, values: &[&str]) -> bool {
    match scope {
        "Terminating" => ends(pod),
        "NotTerminating" => !ends(pod),
        "BestEffort" => kinds::qos_class(pod) == "BestEffort",
        "NotBestEffort" => kinds::qos_class(pod) != "BestEffort",
        "PriorityClass" => named(text(pod, "/spec/priorityClassName"), operator, values),
        "CrossNamespacePodAffinity" => looks_elsewhere(pod),
        _ => false,
    }
}

fn ends(pod: &Value) -> bool {
    pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds >= 0)
}

fn named(name: &str, operator: &str, values: &[&str]) -> bool {
    match operator {
        "In" => values.contains(&name),
        "NotIn" => !values.contains(&name),
        "Exists" => !name.is_empty(),
        "DoesNotExist" => name.is_empty(),
        _ => false,
    }
}

/// Whether a term of affinity is about pods of other namespaces.
fn looks_elsewhere(pod: &Value) -> bool {
    const LISTS: [&str; 2] =
        ["requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"];
    let is_wide = |term: &Value| {
        let term = term.get("podAffinityTerm").unwrap_or(term);
        !items(term, "/namespaces").is_empty()
            || term.get("namespaceSelector").is_some_and(|selector| !selector.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        LISTS.iter().any(|list| items(pod, &format!("/spec/affinity/{kind}/{list}")).iter().any(is_wide))
    })
}
