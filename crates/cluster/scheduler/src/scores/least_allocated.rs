//! The node with most room left.

use super::MAX;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub fn score(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<f64> {
    let free = |node: &&NodeInfo| {
        let [cpu, memory] = node.shares_with(pod);
        MAX * (1.0 - f64::midpoint(cpu, memory))
    };
    nodes.iter().map(free).collect()
}
