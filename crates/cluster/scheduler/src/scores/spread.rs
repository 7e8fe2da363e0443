//! The node with fewest pods of the same owner, for pods without topology spread constraints of their own.

use super::normalized;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub fn score(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<f64> {
    if !pod.constraints.is_empty() {
        return vec![0.0; nodes.len()];
    }
    let siblings = nodes.iter().map(|node| node.siblings(pod));
    normalized(&siblings.collect::<Vec<_>>(), true)
}
