//! The node whose cpu and memory would be used evenly: neither is left over when the other is gone.

use super::MAX;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub fn score(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<f64> {
    let even = |node: &&NodeInfo| {
        let [cpu, memory] = node.shares_with(pod);
        // Of two numbers the standard deviation is half their distance.
        MAX * (1.0 - (cpu - memory).abs() / 2.0)
    };
    nodes.iter().map(even).collect()
}
