//! Whether a pod can run on a node at all. One file per question, all of one shape.
//!
//! Owns: the list of filters and its order, cheap and decisive ones first.
//! Does not own: which of the possible nodes is best (see `scores`).

mod host_ports;
mod node_affinity;
mod node_name;
mod resources;
mod taints;
mod unschedulable;

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub use node_affinity::matches_term;
pub use taints::tolerates;

/// Asks one question; an empty answer means yes, otherwise the reasons in kube-scheduler's words.
type Filter = fn(&PodInfo, &NodeInfo) -> Vec<String>;

/// The filters by kube-scheduler's names for them.
pub const ALL: [(&str, Filter); 6] = [
    ("NodeUnschedulable", unschedulable::filter),
    ("NodeName", node_name::filter),
    ("TaintToleration", taints::filter),
    ("NodeAffinity", node_affinity::filter),
    ("NodePorts", host_ports::filter),
    ("NodeResourcesFit", resources::filter),
];

/// The reasons of the first filter that refuses; empty if none does.
pub fn first_refusal(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    let refusals = ALL.iter().map(|(_, filter)| filter(pod, node));
    refusals.into_iter().find(|reasons| !reasons.is_empty()).unwrap_or_default()
}

/// The names of all filters that refuse.
pub fn refusing(pod: &PodInfo, node: &NodeInfo) -> Vec<(&'static str, Vec<String>)> {
    let refusals = ALL.iter().map(|(name, filter)| (*name, filter(pod, node)));
    refusals.filter(|(_, reasons)| !reasons.is_empty()).collect()
}

#[cfg(test)]
mod tests;
