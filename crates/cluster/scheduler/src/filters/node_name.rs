//! Pods that name their node.

use crate::node_info::NodeInfo;
use crate::pod_info::{PodInfo, node_of};

pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    match node_of(&pod.pod) {
        Some(wanted) if wanted != node.name => {
            vec!["node(s) didn't match the requested node name".into()]
        }
        _ => Vec::new(),
    }
}
