//! Ports of the machine that are taken.

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    if pod.host_ports.iter().any(|port| node.has_port_taken(port)) {
        return vec!["node(s) didn't have free ports for the requested pod ports".into()];
    }
    Vec::new()
}
