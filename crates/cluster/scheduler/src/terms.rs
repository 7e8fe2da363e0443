//! Which other pods a pod minds: the terms of pod affinity and anti-affinity, read once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

use hako_kube::{LabelSelector, LabelSelectorRequirement, Selector};
use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, WeightedPodAffinityTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

/// The labels of something.
pub type Labels = BTreeMap<String, String>;

/// The labels of every namespace, by its name.
pub type Namespaces = HashMap<String, Labels>;

/// What other pods can tell of a pod. Pods of one template are alike, so they are compared and counted as one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Likeness {
    pub namespace: String,
    pub labels: Labels,
    /// It is being deleted: topology spread does not count it any more.
    pub is_terminating: bool,
    pub affinity: Affinity,
}

/// Namespace and labels tell nearly all apart; selectors have no hash.
impl Hash for Likeness {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.namespace.hash(state);
        self.labels.hash(state);
    }
}

impl Likeness {
    pub fn of(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let namespace = meta.namespace.clone().unwrap_or_default();
        let labels = meta.labels.clone().unwrap_or_default();
        let affinity = Affinity::of(pod, &namespace, &labels);
        Self { is_terminating: meta.deletion_timestamp.is_some(), namespace, labels, affinity }
    }
}

/// The terms of a pod.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    pub required: Vec<Term>,
    pub required_anti: Vec<Term>,
    /// Terms with their weights; those of anti-affinity weigh less than nothing.
    pub preferred: Vec<(i64, Term)>,
}

impl Affinity {
    fn of(pod: &Pod, namespace: &str, labels: &Labels) -> Self {
        let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else {
            return Self::default();
        };
        let read = |term: &PodAffinityTerm| Term::of(term, namespace, labels);
        let weighted = |sign: i64| {
            move |term: &WeightedPodAffinityTerm| {
                (sign * i64::from(term.weight), read(&term.pod_affinity_term))
            }
        };
        let (near, far) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
        let required = near.and_then(|it| it.required_during_scheduling_ignored_during_execution.as_ref());
        let required_anti =
            far.and_then(|it| it.required_during_scheduling_ignored_during_execution.as_ref());
        let attracted = near.and_then(|it| it.preferred_during_scheduling_ignored_during_execution.as_ref());
        let repelled = far.and_then(|it| it.preferred_during_scheduling_ignored_during_execution.as_ref());
        Self {
            required: required.into_iter().flatten().map(read).collect(),
            required_anti: required_anti.into_iter().flatten().map(read).collect(),
            preferred: (attracted.into_iter().flatten().map(weighted(1)))
                .chain(repelled.into_iter().flatten().map(weighted(-1)))
                .collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.required_anti.is_empty() && self.preferred.is_empty()
    }

    /// Whether a pod meets all required terms of affinity; it has to be one pod that does.
    pub fn is_met_by(&self, pod: &Likeness, namespaces: &Namespaces) -> bool {
        !self.required.is_empty() && self.required.iter().all(|term| term.matches(pod, namespaces))
    }
}

/// One term: these pods, as far as the topology reaches.
#[derive(Debug, PartialEq, Eq)]
pub struct Term {
    pub topology_key: String,
    namespaces: BTreeSet<String>,
    namespace_selector: Selector,
    selector: Selector,
}

impl Term {
    /// Without `namespaces` and `namespaceSelector`, the pod's own namespace is meant.
    fn of(term: &PodAffinityTerm, namespace: &str, labels: &Labels) -> Self {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        let mut further = demands(term.match_label_keys.as_deref(), "In", labels);
        further.extend(demands(term.mismatch_label_keys.as_deref(), "NotIn", labels));
        Self {
            topology_key: term.topology_key.clone(),
            namespaces,
            namespace_selector: selector(term.namespace_selector.as_ref(), Vec::new()),
            selector: selector(term.label_selector.as_ref(), further),
        }
    }

    pub fn matches(&self, pod: &Likeness, namespaces: &Namespaces) -> bool {
        let is_meant = self.namespaces.contains(&pod.namespace)
            || self.namespace_selector.matches_opt(namespaces.get(&pod.namespace));
        is_meant && self.selector.matches(&pod.labels)
    }
}

/// What `matchLabelKeys` and `mismatchLabelKeys` add: the pod's own values; keys that it lacks add nothing.
pub fn demands(keys: Option<&[String]>, operator: &str, labels: &Labels) -> Vec<LabelSelectorRequirement> {
    let known = keys.unwrap_or_default().iter().filter_map(|key| {
        let values = Some(vec![labels.get(key)?.clone()]);
        Some(LabelSelectorRequirement { key: key.clone(), operator: operator.to_owned(), values })
    });
    known.collect()
}

/// A selector with further demands. One that is missing selects nothing, and so does one with a fault (the API
/// refuses it anyway).
pub fn selector(given: Option<&meta::LabelSelector>, further: Vec<LabelSelectorRequirement>) -> Selector {
    let Some(given) = given else { return Selector::nothing() };
    let mut expressions: Vec<_> = given
        .match_expressions
        .iter()
        .flatten()
        .map(|it| LabelSelectorRequirement {
            key: it.key.clone(),
            operator: it.operator.clone(),
            values: it.values.clone(),
        })
        .collect();
    expressions.extend(further);
    let whole =
        LabelSelector { match_labels: given.match_labels.clone(), match_expressions: Some(expressions) };
    whole.selector().unwrap_or_else(|_| Selector::nothing())
}
