//! Which of the possible nodes is best. One file per point of view, all of one shape.
//!
//! Owns: the points of view, their weights (kube-scheduler's) and their sum.
//! Does not own: which nodes are possible (see `filters`).

mod balanced_allocation;
mod image_locality;
mod inter_pod_affinity;
mod least_allocated;
mod node_affinity;
mod spread;
mod taints;
mod topology_spread;

use crate::node_info::NodeInfo;
use crate::others::Others;
use crate::pod_info::PodInfo;

/// The best score there is.
pub const MAX: f64 = 100.0;

/// Rates every node between 0 and [`MAX`].
type Score = fn(&PodInfo, &[&NodeInfo]) -> Vec<f64>;

/// The same by what other pods mean for the pod.
type AmongOthers = fn(&PodInfo, &Others, &[&NodeInfo]) -> Vec<f64>;

/// Scores with their weights.
const ALONE: [(f64, Score); 6] = [
    (3.0, taints::score),
    (2.0, node_affinity::score),
    (2.0, spread::score),
    (1.0, least_allocated::score),
    (1.0, balanced_allocation::score),
    (1.0, image_locality::score),
];

/// Those that depend on other pods.
const AMONG_OTHERS: [(f64, AmongOthers); 2] =
    [(2.0, topology_spread::score), (2.0, inter_pod_affinity::score)];

/// The weighted sum per node.
pub fn total(pod: &PodInfo, others: &Others, nodes: &[&NodeInfo]) -> Vec<f64> {
    let mut totals = vec![0.0; nodes.len()];
    let alone = ALONE.iter().map(|(weight, score)| (weight, score(pod, nodes)));
    let among = AMONG_OTHERS.iter().map(|(weight, score)| (weight, score(pod, others, nodes)));
    for (weight, scores) in alone.chain(among) {
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += weight * score;
        }
    }
    totals
}

/// Stretches ratings so that the highest becomes [`MAX`]; `reversed` if much is bad.
fn normalized(ratings: &[i64], reversed: bool) -> Vec<f64> {
    let highest = ratings.iter().copied().max().unwrap_or(0);
    let scores = ratings.iter().map(|rating| match (highest, reversed) {
        (0, true) => MAX,
        (0, false) => 0.0,
        (_, true) => MAX - MAX * *rating as f64 / highest as f64,
        (_, false) => MAX * *rating as f64 / highest as f64,
    });
    scores.collect()
}

#[cfg(test)]
mod tests;
