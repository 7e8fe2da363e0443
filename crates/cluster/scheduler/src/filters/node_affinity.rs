//! `nodeSelector` and required node affinity.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    if attracts(pod, node) {
        return Vec::new();
    }
    vec!["node(s) didn't match Pod's node affinity/selector".into()]
}

/// Whether a node has what the pod's node selector and required node affinity ask for.
pub fn attracts(pod: &PodInfo, node: &NodeInfo) -> bool {
    let labels = node.labels();
    let mut selector = pod.spec().into_iter().flat_map(|spec| spec.node_selector.iter().flatten());
    let selected = selector.all(|(key, value)| labels.get(key) == Some(value));
    let required = pod.required_affinity();
    let mut terms = required.into_iter().flat_map(|required| &required.node_selector_terms);
    selected && (required.is_none() || terms.any(|term| matches_term(term, node)))
}

/// Whether a node meets all requirements of a term; a term without any matches nothing.
pub fn matches_term(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let labels = node.labels();
    expressions
        .iter()
        .all(|requirement| matches(requirement, labels.get(&requirement.key).map(String::as_str)))
        && fields.iter().all(|requirement| {
            let name = (requirement.key == "metadata.name").then_some(node.name.as_str());
            matches(requirement, name)
        })
}

fn matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|listed| listed == value));
    match &requirement.operator[..] {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(value, values).is_some_and(|(value, bound)| value > bound),
        "Lt" => compare(value, values).is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

fn compare(value: Option<&str>, values: &[String]) -> Option<(i64, i64)> {
    Some((value?.parse().ok()?, values.first()?.parse().ok()?))
}
