//! The node with fewest pods of the same owner.

use super::normalized;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub fn score(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<f64> {
    let siblings = nodes.iter().map(|node| node.siblings(pod));
    normalized(&siblings.collect::<Vec<_>>(), true)
}
