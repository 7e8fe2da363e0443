//! The node whose pods the pod likes most, and who like it most, by weight.

use super::MAX;
use crate::node_info::NodeInfo;
use crate::others::Others;
use crate::pod_info::PodInfo;

pub fn score(_: &PodInfo, others: &Others, nodes: &[&NodeInfo]) -> Vec<f64> {
    let liking = |node: &&NodeInfo| -> i64 { others.preferred.of(node.labels()).map(|(_, sum)| sum).sum() };
    let liking: Vec<i64> = nodes.iter().map(liking).collect();
    let least = liking.iter().copied().min().unwrap_or(0);
    let range = liking.iter().copied().max().unwrap_or(0) - least;
    let stretch = |sum: &i64| if range == 0 { 0.0 } else { MAX * (sum - least) as f64 / range as f64 };
    liking.iter().map(stretch).collect()
}
