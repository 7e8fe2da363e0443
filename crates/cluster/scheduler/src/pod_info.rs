//! A pod as decisions need it: read once, then compared with many nodes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{NodeSelector, Pod, PodSpec, PreferredSchedulingTerm, Toleration};

use crate::constraints::Constraint;
use crate::resources::{Resources, pod_requests, pod_weight};
use crate::terms::Likeness;

/// Namespace and name.
pub type PodKey = (String, String);

/// One port of the machine that a pod wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// `0.0.0.0` for all addresses.
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    pub fn collides(&self, other: &Self) -> bool {
        let all = |port: &Self| port.ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || all(self) || all(other))
    }
}

/// A pod as decisions need it.
#[derive(Debug)]
pub struct PodInfo {
    pub pod: Arc<Pod>,
    pub key: PodKey,
    pub uid: String,
    pub priority: i32,
    pub requests: Resources,
    pub weight: Resources,
    pub host_ports: Vec<HostPort>,
    /// The uid of its controller: its siblings are spread.
    pub owner: Option<String>,
    /// What other pods can tell of it, and whom of them it minds.
    pub likeness: Arc<Likeness>,
    pub constraints: Vec<Constraint>,
}

impl PodInfo {
    pub fn new(pod: Arc<Pod>) -> Self {
        let spec = pod.spec.as_ref();
        let owners = pod.metadata.owner_references.iter().flatten();
        let likeness = Likeness::of(&pod);
        let owner = owners.clone().find(|owner| owner.controller == Some(true));
        Self {
            key: key_of(&pod),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            priority: spec.and_then(|spec| spec.priority).unwrap_or(0),
            requests: spec.map(pod_requests).unwrap_or_default(),
            weight: spec.map(pod_weight).unwrap_or_default(),
            host_ports: spec.map(host_ports).unwrap_or_default(),
            owner: owner.map(|owner| owner.uid.clone()),
            constraints: Constraint::all(&pod, &likeness.labels),
            likeness: Arc::new(likeness),
            pod,
        }
    }

    /// Whether it depends on other pods where it can go, beyond the room they take.
    pub fn minds_others(&self) -> bool {
        !self.likeness.affinity.is_empty() || !self.constraints.is_empty()
    }

    pub fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    pub fn tolerations(&self) -> &[Toleration] {
        let tolerations = self.spec().and_then(|spec| spec.tolerations.as_deref());
        tolerations.unwrap_or_default()
    }

    pub fn required_affinity(&self) -> Option<&NodeSelector> {
        let affinity = self.spec()?.affinity.as_ref()?.node_affinity.as_ref()?;
        affinity.required_during_scheduling_ignored_during_execution.as_ref()
    }

    pub fn preferred_affinity(&self) -> &[PreferredSchedulingTerm] {
        let affinity = self.spec().and_then(|spec| spec.affinity.as_ref()?.node_affinity.as_ref());
        affinity
            .and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_deref())
            .unwrap_or_default()
    }
}

pub fn key_of(pod: &Pod) -> PodKey {
    let meta = &pod.metadata;
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The node a pod is bound to.
pub fn node_of(pod: &Pod) -> Option<&str> {
    let node = pod.spec.as_ref()?.node_name.as_deref()?;
    (!node.is_empty()).then_some(node)
}

/// Whether all its containers have ended for good: it takes no room any more.
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let on_host = spec.host_network == Some(true);
    let staying = spec.init_containers.iter().flatten();
    let staying = staying.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(staying).flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let wanted = port.host_port.filter(|port| *port != 0);
            Some(HostPort {
                port: wanted.or(on_host.then_some(port.container_port))?,
                ip: port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".into()),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            })
        })
        .collect()
}
