//! The node that meets most of the preferred node affinity, by weight.

use super::normalized;
use crate::filters::matches_term;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub fn score(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<f64> {
    let preferred = pod.preferred_affinity();
    let weight = |node: &&NodeInfo| {
        let met = preferred.iter().filter(|term| matches_term(&term.preference, node));
        met.map(|term| i64::from(term.weight)).sum()
    };
    normalized(&nodes.iter().map(weight).collect::<Vec<i64>>(), false)
}
