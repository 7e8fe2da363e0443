//! Scopes: which objects a quota is about.

use super::{Resource, pod};
use serde_json::Value;

const CLAIM_SCOPE: &str = "VolumeAttributesClass";

/// Whether all scopes of a quota's `spec` hold for an object. Scopes are about pods, one about claims; a quota with
/// them counts nothing else.
#[must_use]
pub fn is_selected(spec: &Value, resource: Resource<'_>, object: &Value) -> bool {
    let scopes = spec["scopes"].as_array().into_iter().flatten();
    let expressions = spec.pointer("/scopeSelector/matchExpressions").and_then(Value::as_array);
    scopes.filter_map(Value::as_str).all(|scope| holds(scope, "Exists", &[], resource, object))
        && expressions.into_iter().flatten().all(|expression| {
            let text = |name: &str| expression[name].as_str().unwrap_or("");
            let values = expression["values"].as_array().map_or(&[][..], Vec::as_slice);
            holds(text("scopeName"), text("operator"), values, resource, object)
        })
}

fn holds(scope: &str, operator: &str, values: &[Value], resource: Resource<'_>, object: &Value) -> bool {
    match (resource, scope) {
        (("", "persistentvolumeclaims"), CLAIM_SCOPE) => {
            let class = object.pointer("/spec/volumeAttributesClassName").and_then(Value::as_str);
            chooses(operator, values, class)
        }
        (("", "pods"), scope) => of_pod(scope, operator, values, object),
        _ => false,
    }
}

fn of_pod(scope: &str, operator: &str, values: &[Value], pod: &Value) -> bool {
    let is_terminating = pod.pointer("/spec/activeDeadlineSeconds").is_some_and(|it| !it.is_null());
    match scope {
        "Terminating" => is_terminating,
        "NotTerminating" => !is_terminating,
        "BestEffort" => pod::is_best_effort(pod),
        "NotBestEffort" => !pod::is_best_effort(pod),
        "CrossNamespacePodAffinity" => reaches_other_namespaces(pod),
        "PriorityClass" => {
            let class = pod.pointer("/spec/priorityClassName").and_then(Value::as_str);
            chooses(operator, values, class)
        }
        _ => false,
    }
}

fn chooses(operator: &str, values: &[Value], is: Option<&str>) -> bool {
    let is = is.filter(|name| !name.is_empty());
    let is_among = is.is_some_and(|name| values.iter().any(|value| value == name));
    match operator {
        "In" => is_among,
        "NotIn" => !is_among,
        "Exists" => is.is_some(),
        "DoesNotExist" => is.is_none(),
        _ => false,
    }
}

/// Whether a term of affinity or anti-affinity names namespaces.
fn reaches_other_namespaces(pod: &Value) -> bool {
    let names = |term: &Value| {
        term["namespaces"].as_array().is_some_and(|names| !names.is_empty())
            || !term["namespaceSelector"].is_null()
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let terms = &pod["spec"]["affinity"][*kind];
        let list = |name: &str| terms[name].as_array().into_iter().flatten();
        list("requiredDuringSchedulingIgnoredDuringExecution").any(&names)
            || list("preferredDuringSchedulingIgnoredDuringExecution")
                .any(|one| names(&one["podAffinityTerm"]))
    })
}
