//! Affinity: which nodes a pod wants, and which other pods it wants near or far.

use super::super::value::{at, items, number, text};
use super::{Check, label_keys};
use hako_kube::{
    LabelSelector,
    field::{self, Faults},
    names,
};
use serde::Deserialize as _;
use serde_json::Value;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

impl Check<'_> {
    pub(super) fn affinity(&mut self) {
        let Some(affinity) = at(self.spec, &["affinity"]).filter(|it| !it.is_null()) else { return };
        let path = self.child("affinity");
        if let Some(node) = given(affinity, "nodeAffinity") {
            self.node_affinity(node, &field::child(&path, "nodeAffinity"));
        }
        for name in ["podAffinity", "podAntiAffinity"] {
            if let Some(pods) = given(affinity, name) {
                self.pod_affinity(pods, &field::child(&path, name));
            }
        }
    }

    fn node_affinity(&mut self, affinity: &Value, path: &str) {
        if let Some(required) = given(affinity, REQUIRED) {
            self.node_selector(required, &field::child(path, REQUIRED));
        }
        for (index, term) in items(affinity, &[PREFERRED]).iter().enumerate() {
            let path = field::index(&field::child(path, PREFERRED), index);
            self.weight(term, &path);
            if let Some(preference) = given(term, "preference") {
                self.node_term(preference, &field::child(&path, "preference"), false);
            }
        }
    }

    fn node_selector(&mut self, selector: &Value, path: &str) {
        let (terms, path) =
            (items(selector, &["nodeSelectorTerms"]), field::child(path, "nodeSelectorTerms"));
        if terms.is_empty() {
            self.causes.push(field::required(&path, "must have at least one node selector term"));
        }
        for (index, term) in terms.iter().enumerate() {
            self.node_term(term, &field::index(&path, index), true);
        }
    }

    fn weight(&mut self, term: &Value, path: &str) {
        let weight = number(term, &["weight"]).unwrap_or(0);
        if !(1..=100).contains(&weight) {
            let path = field::child(path, "weight");
            self.causes.push(field::invalid(path, weight, "must be in the range 1-100"));
        }
    }

    fn node_term(&mut self, term: &Value, path: &str, is_required: bool) {
        for (index, demand) in items(term, &["matchExpressions"]).iter().enumerate() {
            let path = field::index(&field::child(path, "matchExpressions"), index);
            self.node_labels(demand, &path, is_required);
        }
        for (index, demand) in items(term, &["matchFields"]).iter().enumerate() {
            self.node_field(demand, &field::index(&field::child(path, "matchFields"), index));
        }
    }

    fn node_labels(&mut self, demand: &Value, path: &str, is_required: bool) {
        let values = items(demand, &["values"]);
        let values_path = field::child(path, "values");
        match text(demand, &["operator"]) {
            "In" | "NotIn" if values.is_empty() => self
                .causes
                .push(field::required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'")),
            "Exists" | "DoesNotExist" if !values.is_empty() => self.causes.push(field::forbidden(
                &values_path,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Gt" | "Lt" if values.len() != 1 => self.causes.push(field::required(
                &values_path,
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => self.bad_operator(other, path),
        }
        let key = text(demand, &["key"]);
        self.faults(names::qualified_name(key), key, &field::child(path, "key"));
        for (index, value) in values.iter().filter_map(Value::as_str).enumerate().filter(|_| is_required) {
            self.faults(names::label_value(value), value, &field::index(&values_path, index));
        }
    }

    /// Nodes are chosen by one field, their name.
    fn node_field(&mut self, demand: &Value, path: &str) {
        let values = items(demand, &["values"]);
        let values_path = field::child(path, "values");
        match text(demand, &["operator"]) {
            "In" | "NotIn" if values.len() != 1 => self.causes.push(field::required(
                &values_path,
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            )),
            "In" | "NotIn" => {}
            other => self.bad_operator(other, path),
        }
        let key = text(demand, &["key"]);
        if key != "metadata.name" {
            let path = field::child(path, "key");
            self.causes.push(field::invalid(path, key, "not a valid field selector key"));
            return;
        }
        for (index, value) in values.iter().filter_map(Value::as_str).enumerate() {
            self.faults(names::dns_subdomain(value), value, &field::index(&values_path, index));
        }
    }

    fn bad_operator(&mut self, operator: &str, path: &str) {
        let path = field::child(path, "operator");
        self.causes.push(field::invalid(path, operator, "not a valid selector operator"));
    }

    fn pod_affinity(&mut self, affinity: &Value, path: &str) {
        for (index, term) in items(affinity, &[REQUIRED]).iter().enumerate() {
            self.pod_term(term, &field::index(&field::child(path, REQUIRED), index));
        }
        for (index, weighted) in items(affinity, &[PREFERRED]).iter().enumerate() {
            let path = field::index(&field::child(path, PREFERRED), index);
            self.weight(weighted, &path);
            let term = given(weighted, "podAffinityTerm").unwrap_or(&Value::Null);
            self.pod_term(term, &field::child(&path, "podAffinityTerm"));
        }
    }

    fn pod_term(&mut self, term: &Value, path: &str) {
        for name in ["labelSelector", "namespaceSelector"] {
            self.causes.extend(selector_faults(term, name, path));
        }
        for namespace in items(term, &["namespaces"]).iter().filter_map(Value::as_str) {
            self.faults(names::dns_label(namespace), namespace, &field::child(path, "namespace"));
        }
        self.causes.extend(label_keys::term_faults(term, path));
        self.topology_key(term, path);
    }

    /// What divides the nodes into domains is the value of a label.
    fn topology_key(&mut self, term: &Value, path: &str) {
        let (key, path) = (text(term, &["topologyKey"]), field::child(path, "topologyKey"));
        if key.is_empty() {
            self.causes.push(field::required(&path, "can not be empty"));
        }
        self.faults(names::qualified_name(key), key, &path);
    }

    /// Each fault of a value as a cause.
    fn faults(&mut self, faults: Vec<String>, value: &str, path: &str) {
        let of = |fault: String| field::invalid(path, value, &fault);
        self.causes.extend(faults.into_iter().map(of));
    }
}

/// A member that is neither missing nor null.
fn given<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// Faults of a selector of nodes outside of a pod.
pub(in super::super) fn node_selector(selector: &Value, path: &str) -> Faults {
    let mut check = Check { spec: &Value::Null, path: String::new(), causes: Faults::new() };
    check.node_selector(selector, path);
    check.causes
}

/// Faults of the label selector under `name`, if there is one.
pub(super) fn selector_faults(object: &Value, name: &str, path: &str) -> Faults {
    let selector = given(object, name).and_then(|selector| LabelSelector::deserialize(selector).ok());
    selector.map(|selector| selector.validate(&field::child(path, name))).unwrap_or_default()
}

/// All terms about other pods, the weighted ones too.
pub(super) fn pod_terms_mut(affinity: &mut Value) -> impl Iterator<Item = &mut Value> {
    let kinds = affinity.as_object_mut().into_iter().flatten();
    let kinds = kinds.filter(|(name, _)| matches!(name.as_str(), "podAffinity" | "podAntiAffinity"));
    let lists = kinds.flat_map(|(_, kind)| kind.as_object_mut().into_iter().flatten());
    lists.flat_map(|(name, list)| {
        let is_weighted = name == PREFERRED;
        let terms = list.as_array_mut().into_iter().flatten();
        terms.filter_map(move |term| if is_weighted { term.get_mut("podAffinityTerm") } else { Some(term) })
    })
}
