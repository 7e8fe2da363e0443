//! A node and what the pods on it have left of it, kept up to date pod by pod.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod_info::{HostPort, PodInfo};
use crate::resources::{CPU, MEMORY, PODS, Resources};

static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

/// A node and what is taken of it.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// None while pods are bound to a node that is not (or no longer) known.
    pub node: Option<Arc<Node>>,
    pub name: String,
    pub allocatable: Resources,
    pub requested: Resources,
    pub weight: Resources,
    pub pods: i64,
    host_ports: Vec<HostPort>,
    by_owner: HashMap<String, i64>,
    /// Sizes of the images that are there, by every name they have.
    images: HashMap<String, i64>,
}

impl NodeInfo {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub fn set_node(&mut self, node: Arc<Node>) {
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        self.allocatable = Resources::parse(allocatable);
        let images = status.into_iter().flat_map(|status| status.images.iter().flatten());
        self.images = images
            .flat_map(|image| {
                let size = image.size_bytes.unwrap_or(0);
                image.names.iter().flatten().map(move |name| (name.clone(), size))
            })
            .collect();
        self.node = Some(node);
    }

    pub fn add(&mut self, pod: &PodInfo) {
        self.requested.add(&pod.requests);
        self.weight.add(&pod.weight);
        self.pods += 1;
        self.host_ports.extend(pod.host_ports.iter().cloned());
        if let Some(owner) = &pod.owner {
            *self.by_owner.entry(owner.clone()).or_default() += 1;
        }
    }

    pub fn remove(&mut self, pod: &PodInfo) {
        self.requested.subtract(&pod.requests);
        self.weight.subtract(&pod.weight);
        self.pods -= 1;
        for port in &pod.host_ports {
            if let Some(at) = self.host_ports.iter().position(|taken| taken == port) {
                self.host_ports.swap_remove(at);
            }
        }
        if let Some(owner) = &pod.owner
            && let Some(count) = self.by_owner.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                self.by_owner.remove(owner);
            }
        }
    }

    pub fn labels(&self) -> &BTreeMap<String, String> {
        let labels = self.node.as_ref().and_then(|node| node.metadata.labels.as_ref());
        labels.unwrap_or(&NO_LABELS)
    }

    pub fn taints(&self) -> &[Taint] {
        let spec = self.node.as_ref().and_then(|node| node.spec.as_ref());
        spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
    }

    pub fn is_unschedulable(&self) -> bool {
        let spec = self.node.as_ref().and_then(|node| node.spec.as_ref());
        spec.is_some_and(|spec| spec.unschedulable == Some(true))
    }

    /// What is left of a resource.
    pub fn free(&self, name: &str) -> i64 {
        match name {
            PODS => self.allocatable.get(PODS) - self.pods,
            _ => self.allocatable.get(name) - self.requested.get(name),
        }
    }

    /// The share of a resource that would be taken with `pod` on it, 0 to 1.
    pub fn share_with(&self, pod: &PodInfo, name: &str) -> f64 {
        let capacity = self.allocatable.get(name);
        if capacity == 0 {
            return 1.0;
        }
        let taken = self.weight.get(name) + pod.weight.get(name);
        (taken as f64 / capacity as f64).min(1.0)
    }

    /// The shares of cpu and memory.
    pub fn shares_with(&self, pod: &PodInfo) -> [f64; 2] {
        [CPU, MEMORY].map(|name| self.share_with(pod, name))
    }

    pub fn has_port_taken(&self, wanted: &HostPort) -> bool {
        self.host_ports.iter().any(|taken| taken.collides(wanted))
    }

    pub fn siblings(&self, pod: &PodInfo) -> i64 {
        let owner = pod.owner.as_ref().and_then(|owner| self.by_owner.get(owner));
        owner.copied().unwrap_or(0)
    }

    /// The size of an image if it is there. Nodes may know `web:v1` as `docker.io/library/web:v1`.
    pub fn image_bytes(&self, image: &str) -> i64 {
        let tagged = match image.rsplit('/').next() {
            Some(last) if last.contains([':', '@']) => image.to_owned(),
            _ => format!("{image}:latest"),
        };
        let spellings =
            [tagged.clone(), format!("docker.io/{tagged}"), format!("docker.io/library/{tagged}")];
        let known = spellings.iter().find_map(|name| self.images.get(name));
        known.copied().unwrap_or(0)
    }
}
