//! Required pod affinity and anti-affinity: the pod's own, and the anti-affinity of those that are there already.

use crate::node_info::NodeInfo;
use crate::others::Others;
use crate::pod_info::PodInfo;

/// What keeps a pod from a node, with the topology key it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Nobody whom the pod has to be near is there.
    Affinity(String),
    /// Somebody whom the pod has to be far from is there.
    AntiAffinity(String),
    /// Somebody who has to be far from the pod is there.
    ExistingAntiAffinity(String),
}

impl Conflict {
    /// In kube-scheduler's words.
    fn reason(&self) -> &'static str {
        match self {
            Self::Affinity(_) => "node(s) didn't match pod affinity rules",
            Self::AntiAffinity(_) => "node(s) didn't match pod anti-affinity rules",
            Self::ExistingAntiAffinity(_) => "node(s) didn't satisfy existing pods anti-affinity rules",
        }
    }
}

pub fn filter(pod: &PodInfo, others: &Others, node: &NodeInfo) -> Vec<String> {
    conflict(pod, others, node).map(|conflict| conflict.reason().to_owned()).into_iter().collect()
}

/// The first thing that keeps the pod from the node.
pub fn conflict(pod: &PodInfo, others: &Others, node: &NodeInfo) -> Option<Conflict> {
    let labels = node.labels();
    let affinity = &pod.likeness.affinity;
    // Nobody anywhere meets the terms, but the pod itself does: it is the first of its kind and may begin here.
    let is_first = others.wanted.is_empty() && others.wants_itself;
    for term in &affinity.required {
        let key = &term.topology_key;
        let is_near = |value: &String| others.wanted.get(key, value) > 0 || is_first;
        if !labels.get(key).is_some_and(is_near) {
            return Some(Conflict::Affinity(key.clone()));
        }
    }
    let taken = |(key, count): (&str, i64)| (count > 0).then(|| key.to_owned());
    let anti = others.unwanted.of(labels).find_map(taken).map(Conflict::AntiAffinity);
    anti.or_else(|| others.unwelcoming.of(labels).find_map(taken).map(Conflict::ExistingAntiAffinity))
}
