//! Topology spread constraints with `whenUnsatisfiable: DoNotSchedule`.

use crate::node_info::NodeInfo;
use crate::others::Others;
use crate::pod_info::PodInfo;

/// What keeps a pod from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imbalance {
    /// The node is in no domain of the topology.
    MissingLabel { topology_key: String },
    /// The domain would be too far ahead of the emptiest one.
    Skew { topology_key: String, domain: String, pods: i64, fewest: i64, max_skew: i64 },
}

impl Imbalance {
    /// In kube-scheduler's words.
    fn reason(&self) -> &'static str {
        match self {
            Self::MissingLabel { .. } => {
                "node(s) didn't match pod topology spread constraints (missing required label)"
            }
            Self::Skew { .. } => "node(s) didn't match pod topology spread constraints",
        }
    }
}

pub fn filter(_: &PodInfo, others: &Others, node: &NodeInfo) -> Vec<String> {
    imbalance(others, node).map(|imbalance| imbalance.reason().to_owned()).into_iter().collect()
}

/// The first constraint that keeps the pod from the node.
pub fn imbalance(others: &Others, node: &NodeInfo) -> Option<Imbalance> {
    others.hard.iter().find_map(|spread| {
        let topology_key = spread.topology_key.clone();
        let Some(domain) = node.labels().get(&topology_key) else {
            return Some(Imbalance::MissingLabel { topology_key });
        };
        let pods = spread.counts.get(domain).copied().unwrap_or(0);
        let skew = pods + i64::from(spread.counts_itself) - spread.fewest;
        (skew > spread.max_skew).then(|| Imbalance::Skew {
            topology_key,
            domain: domain.clone(),
            pods,
            fewest: spread.fewest,
            max_skew: spread.max_skew,
        })
    })
}
