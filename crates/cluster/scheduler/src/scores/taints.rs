//! The node with fewest untolerated taints of effect `PreferNoSchedule`.

use super::normalized;
use crate::filters::tolerates;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub fn score(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<f64> {
    let unwelcome = |node: &&NodeInfo| {
        let soft = node.taints().iter().filter(|taint| taint.effect == "PreferNoSchedule");
        let untolerated = soft.filter(|taint| !tolerates(pod.tolerations(), taint));
        i64::try_from(untolerated.count()).unwrap_or(i64::MAX)
    };
    normalized(&nodes.iter().map(unwelcome).collect::<Vec<_>>(), true)
}
