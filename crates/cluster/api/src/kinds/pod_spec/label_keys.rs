//! `matchLabelKeys` and `mismatchLabelKeys`: a selector that takes its values from the pod's own labels.
//!
//! Invariant: they become part of the selector once, when the pod is made; validation sees the merged selector.

use super::super::value::{at, each_mut, items, members, text};
use super::affinity::pod_terms_mut;
use hako_kube::{
    field::{self, Faults},
    names,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Puts the values of a new pod's own labels into its selectors. Keys that it lacks add nothing, and neither does a
/// key of a selector that is not there.
pub(in super::super) fn merge(pod: &mut Value) {
    let labels = at(pod, &["metadata", "labels"]).cloned().unwrap_or(Value::Null);
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for constraint in each_mut(spec, "topologySpreadConstraints") {
        merge_into(constraint, &labels);
    }
    let terms = spec.get_mut("affinity").into_iter().flat_map(pod_terms_mut);
    for term in terms.filter_map(Value::as_object_mut) {
        merge_into(term, &labels);
    }
}

fn merge_into(term: &mut Map<String, Value>, labels: &Value) {
    let mut demands = Vec::new();
    for (name, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys = term.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let values = keys.filter_map(|key| Some((key, labels.get(key)?)));
        demands.extend(
            values.map(|(key, value)| json!({ "key": key, "operator": operator, "values": [value] })),
        );
    }
    let Some(selector) = term.get_mut("labelSelector").and_then(Value::as_object_mut) else { return };
    if demands.is_empty() {
        return;
    }
    let expressions = selector.entry("matchExpressions").or_insert(Value::Null);
    if expressions.is_null() {
        *expressions = json!([]);
    }
    if let Some(list) = expressions.as_array_mut() {
        list.extend(demands);
    }
}

/// Faults of the keys of a term about other pods.
pub(super) fn term_faults(term: &Value, path: &str) -> Faults {
    let mut causes = Faults::new();
    for name in ["matchLabelKeys", "mismatchLabelKeys"] {
        key_faults(term, name, path, &mut causes);
    }
    twice(term, path, &mut causes);
    let mismatch: HashSet<&Value> = items(term, &["mismatchLabelKeys"]).iter().collect();
    for (index, key) in items(term, &["matchLabelKeys"]).iter().enumerate() {
        if mismatch.contains(key) {
            let path = field::index(&field::child(path, "matchLabelKeys"), index);
            causes.push(field::invalid(
                path,
                key.clone(),
                "exists in both matchLabelKeys and mismatchLabelKeys",
            ));
        }
    }
    causes
}

/// Faults of the keys of a spread constraint.
pub(super) fn constraint_faults(constraint: &Value, path: &str) -> Faults {
    let mut causes = Faults::new();
    key_faults(constraint, "matchLabelKeys", path, &mut causes);
    twice(constraint, &field::child(path, "matchLabelKeys"), &mut causes);
    causes
}

fn key_faults(term: &Value, name: &str, path: &str, causes: &mut Faults) {
    let (keys, path) = (items(term, &[name]), field::child(path, name));
    if !keys.is_empty() && term.get("labelSelector").is_none_or(Value::is_null) {
        causes.push(field::forbidden(path, "must not be specified when labelSelector is not set"));
        return;
    }
    for (index, key) in keys.iter().filter_map(Value::as_str).enumerate() {
        let of = |fault: String| field::invalid(field::index(&path, index), key, &fault);
        causes.extend(names::qualified_name(key).into_iter().map(of));
    }
}

/// The writer's own demand on a key: the merged one is the second about it.
fn twice(term: &Value, path: &str, causes: &mut Faults) {
    let keys = items(term, &["matchLabelKeys"]);
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, key) in keys.iter().enumerate() {
        places.entry(key.as_str().unwrap_or("")).or_insert(place);
    }
    let mut seen: BTreeSet<&str> =
        members(term, &["labelSelector", "matchLabels"]).map(|(key, _)| key.as_str()).collect();
    for expression in items(term, &["labelSelector", "matchExpressions"]) {
        let key = text(expression, &["key"]);
        if let (false, Some(&place)) = (seen.insert(key), places.get(key)) {
            let path = field::index(path, place);
            causes.push(field::invalid(path, key, "exists in both matchLabelKeys and labelSelector"));
        }
    }
}
