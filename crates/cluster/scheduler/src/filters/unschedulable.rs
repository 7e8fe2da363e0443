//! Nodes that are cordoned, for pods that do not tolerate it.

use k8s_openapi::api::core::v1::Taint;

use super::tolerates;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    let cordoned = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    if node.is_unschedulable() && !tolerates(pod.tolerations(), &cordoned) {
        return vec!["node(s) were unschedulable".into()];
    }
    Vec::new()
}
