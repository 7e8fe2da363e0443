//! Room for the pod's requests, and for one pod more.

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::resources::PODS;

pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    let mut reasons = Vec::new();
    if node.free(PODS) < 1 {
        reasons.push("Too many pods".into());
    }
    for (name, wanted) in pod.requests.iter() {
        if wanted > node.free(name) {
            reasons.push(format!("Insufficient {name}"));
        }
    }
    reasons
}
