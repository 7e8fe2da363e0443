//! The node that has most of the pod's images, by size.

use super::MAX;
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

/// Less than this is fetched in no time; more than the most makes no difference.
const LEAST_BYTES: f64 = 23.0 * 1024.0 * 1024.0;
const MOST_BYTES_PER_CONTAINER: f64 = 1000.0 * 1024.0 * 1024.0;

pub fn score(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<f64> {
    let containers = pod.spec().map_or(&[][..], |spec| &spec.containers);
    let images: Vec<&str> = containers.iter().filter_map(|container| container.image.as_deref()).collect();
    let most = MOST_BYTES_PER_CONTAINER * images.len().max(1) as f64;
    let here = |node: &&NodeInfo| {
        let bytes: i64 = images.iter().map(|image| node.image_bytes(image)).sum();
        let bytes = (bytes as f64).clamp(LEAST_BYTES, most);
        MAX * (bytes - LEAST_BYTES) / (most - LEAST_BYTES)
    };
    nodes.iter().map(here).collect()
}
