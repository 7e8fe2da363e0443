//! The node in the emptiest domain, by the topology spread constraints with `whenUnsatisfiable: ScheduleAnyway`.

use std::collections::HashSet;

use super::MAX;
use crate::node_info::NodeInfo;
use crate::others::{Others, Spread};
use crate::pod_info::PodInfo;

pub fn score(_: &PodInfo, others: &Others, nodes: &[&NodeInfo]) -> Vec<f64> {
    if others.soft.is_empty() {
        return vec![0.0; nodes.len()];
    }
    let has_all =
        |node: &&&NodeInfo| others.soft.iter().all(|spread| node.labels().contains_key(&spread.topology_key));
    let known: Vec<&NodeInfo> = nodes.iter().filter(has_all).copied().collect();
    let weights: Vec<f64> = others.soft.iter().map(|spread| weight(spread, &known)).collect();
    let crowds: Vec<Option<i64>> = nodes.iter().map(|node| crowd(&others.soft, &weights, node)).collect();
    let sums = || crowds.iter().copied().flatten();
    let (least, most) = (sums().min().unwrap_or(0), sums().max().unwrap_or(0));
    let rate = |crowd: &Option<i64>| match crowd {
        None => 0.0,
        Some(_) if most == 0 => MAX,
        Some(crowd) => MAX * (most + least - crowd) as f64 / most as f64,
    };
    crowds.iter().map(rate).collect()
}

/// A pod more or less says less where there are few domains, as each has many pods then.
fn weight(spread: &Spread, known: &[&NodeInfo]) -> f64 {
    let domains: HashSet<_> =
        known.iter().filter_map(|node| node.labels().get(&spread.topology_key)).collect();
    (domains.len() as f64 + 2.0).ln()
}

/// How crowded the domains of a node are; none if it lacks one of the topology keys.
fn crowd(soft: &[Spread], weights: &[f64], node: &NodeInfo) -> Option<i64> {
    let mut sum = 0.0;
    for (spread, weight) in soft.iter().zip(weights) {
        let domain = node.labels().get(&spread.topology_key)?;
        let pods = spread.counts.get(domain).copied().unwrap_or(0);
        sum += pods as f64 * weight + (spread.max_skew - 1) as f64;
    }
    Some(sum.round() as i64)
}
