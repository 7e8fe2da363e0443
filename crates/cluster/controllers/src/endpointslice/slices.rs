//! The slices that a service should have. Pure.

use super::Pods;
use crate::conditions::{fnv32, safe_encode};
use crate::pods;
use k8s_openapi::api::core::v1::{
    ContainerPort, EndpointAddress, EndpointPort as LegacyPort, EndpointSubset, Endpoints, ObjectReference,
    Pod, Service, ServicePort,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

/// Endpoints in one slice; more make another slice.
const PER_SLICE: usize = 100;
pub(crate) const SERVICE_LABEL: &str = "kubernetes.io/service-name";
pub(crate) const MANAGER_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Ports of the service as one pod offers them. Pods that name ports differently make different slices.
type Ports = Vec<(Option<String>, Option<String>, Option<String>, i32)>;

/// All slices of a service, by name.
pub(super) fn desired(service: &Service, selected: &Pods) -> BTreeMap<String, EndpointSlice> {
    let mut groups: BTreeMap<Ports, Vec<Endpoint>> = BTreeMap::new();
    for pod in selected {
        if let Some(endpoint) = endpoint(service, pod) {
            groups.entry(ports(service, pod)).or_default().push(endpoint);
        }
    }
    if groups.is_empty() {
        // A service without pods has one empty slice, as its watchers expect.
        groups.insert(Vec::new(), Vec::new());
    }
    let mut slices = BTreeMap::new();
    for (ports, mut endpoints) in groups {
        endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
        let chunks: Vec<&[Endpoint]> =
            if endpoints.is_empty() { vec![&[]] } else { endpoints.chunks(PER_SLICE).collect() };
        for (number, chunk) in chunks.into_iter().enumerate() {
            let slice = slice(service, &ports, number, chunk.to_vec());
            slices.insert(slice.metadata.name.clone().unwrap_or_default(), slice);
        }
    }
    slices
}

fn slice(service: &Service, ports: &Ports, number: usize, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let name = service.metadata.name.clone().unwrap_or_default();
    let seed = format!("{:?}/{ports:?}/{number}", service.metadata.uid);
    let hash: String = safe_encode(fnv32(seed.bytes())).chars().take(5).collect();
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_LABEL.into(), name.clone());
    labels.insert(MANAGER_LABEL.into(), MANAGER.into());
    if is_headless(service) {
        labels.insert("service.kubernetes.io/headless".into(), String::new());
    }
    let ports = ports
        .iter()
        .map(|(name, protocol, app_protocol, port)| EndpointPort {
            name: Some(name.clone().unwrap_or_default()),
            protocol: protocol.clone(),
            app_protocol: app_protocol.clone(),
            port: Some(*port),
        })
        .collect();
    EndpointSlice {
        address_type: "IPv4".into(),
        metadata: ObjectMeta {
            // Names are cut so that the hash always fits into 63 characters.
            name: Some(format!("{}-{hash}", name.chars().take(57).collect::<String>())),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![owner_reference(service)]),
            ..ObjectMeta::default()
        },
        endpoints: Some(endpoints),
        ports: Some(ports),
    }
}

fn owner_reference(service: &Service) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: "Service".into(),
        name: service.metadata.name.clone().unwrap_or_default(),
        uid: service.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

pub(super) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// A pod as an endpoint; none where it has no address yet or has ended for good.
fn endpoint(service: &Service, pod: &Pod) -> Option<Endpoint> {
    let ip = pod.status.as_ref()?.pod_ip.clone().filter(|ip| !ip.is_empty())?;
    if matches!(pods::phase(pod), "Succeeded" | "Failed") {
        return None;
    }
    let spec = pod.spec.as_ref()?;
    let publishes_all = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    let (is_ready, is_terminating) = (pods::is_ready(pod), pod.metadata.deletion_timestamp.is_some());
    let is_named = spec.hostname.is_some() && spec.subdomain == service.metadata.name;
    Some(Endpoint {
        addresses: vec![ip],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_all || is_ready && !is_terminating),
            serving: Some(publishes_all || is_ready),
            terminating: Some(is_terminating),
        }),
        hostname: spec.hostname.clone().filter(|_| is_named),
        node_name: spec.node_name.clone(),
        target_ref: Some(reference(pod)),
        ..Endpoint::default()
    })
}

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn ports(service: &Service, pod: &Pod) -> Ports {
    let all = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let one = |port: &ServicePort| {
        let number = target_port(port, pod)?;
        Some((
            port.name.clone(),
            port.protocol.clone().or_else(|| Some("TCP".into())),
            port.app_protocol.clone(),
            number,
        ))
    };
    let mut ports: Ports = all.filter_map(one).collect();
    ports.sort();
    ports
}

/// A target port by number, or by the name that the pod's containers give it.
fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let is_it = |candidate: &&ContainerPort| {
        candidate.name.as_ref() == Some(name) && candidate.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    let spec = pod.spec.as_ref()?;
    spec.containers
        .iter()
        .flat_map(|container| container.ports.iter().flatten())
        .find(is_it)
        .map(|port| port.container_port)
}

/// The same as the older kind `Endpoints`, which some programs still read.
pub(super) fn endpoints(service: &Service, slices: &BTreeMap<String, EndpointSlice>) -> Endpoints {
    let mut subsets = Vec::new();
    for slice in slices.values() {
        let all = slice.endpoints.clone().unwrap_or_default();
        let address = |endpoint: &Endpoint| EndpointAddress {
            ip: endpoint.addresses.first().cloned().unwrap_or_default(),
            hostname: endpoint.hostname.clone(),
            node_name: endpoint.node_name.clone(),
            target_ref: endpoint.target_ref.clone(),
        };
        let is = |endpoint: &Endpoint, what: fn(&EndpointConditions) -> Option<bool>| {
            endpoint.conditions.as_ref().and_then(what) == Some(true)
        };
        let staying = all.iter().filter(|endpoint| !is(endpoint, |conditions| conditions.terminating));
        let (ready, waiting): (Vec<_>, Vec<_>) =
            staying.partition(|endpoint| is(endpoint, |conditions| conditions.ready));
        let addresses = |list: Vec<&Endpoint>| {
            Some(list.into_iter().map(address).collect::<Vec<_>>()).filter(|list| !list.is_empty())
        };
        let ports = slice.ports.iter().flatten().map(|port| LegacyPort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            port: port.port.unwrap_or(0),
            protocol: port.protocol.clone(),
            app_protocol: port.app_protocol.clone(),
        });
        let subset = EndpointSubset {
            addresses: addresses(ready),
            not_ready_addresses: addresses(waiting),
            ports: Some(ports.collect()),
        };
        if subset.addresses.is_some() || subset.not_ready_addresses.is_some() {
            subsets.push(subset);
        }
    }
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: service.metadata.labels.clone(),
            ..ObjectMeta::default()
        },
        subsets: Some(subsets).filter(|subsets| !subsets.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn service(extra: Value) -> Service {
        let mut value = json!({ "metadata": { "name": "web", "namespace": "n", "uid": "u" }, "spec": { "selector": { "a": "b" }, "ports": [{ "port": 80, "targetPort": "http" }] } });
        value["spec"].as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn pod(ip: &str, port: i32, ready: bool) -> Arc<Pod> {
        let value = json!({
            "metadata": { "name": format!("p{ip}"), "labels": { "a": "b" } },
            "spec": { "nodeName": "node", "containers": [{ "name": "c", "ports": [{ "name": "http", "containerPort": port }] }] },
            "status": { "podIP": ip, "phase": "Running", "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] },
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn named_ports_resolve_in_each_pod_and_split_slices() {
        let slices =
            desired(&service(json!({})), &vec![pod("10.0.0.1", 8080, true), pod("10.0.0.2", 9090, true)]);
        let ports: Vec<_> =
            slices.values().map(|slice| slice.ports.as_ref().unwrap()[0].port.unwrap()).collect();
        assert_eq!(slices.len(), 2);
        assert!(ports.contains(&8080) && ports.contains(&9090));
    }

    #[test]
    fn conditions_tell_ready_serving_and_terminating_apart() {
        let mut ending = Arc::unwrap_or_clone(pod("10.0.0.1", 80, true));
        ending.metadata.deletion_timestamp = Some(crate::conditions::now());
        let slices = desired(&service(json!({})), &vec![Arc::new(ending)]);
        let conditions =
            slices.values().next().unwrap().endpoints.as_ref().unwrap()[0].conditions.clone().unwrap();
        assert_eq!(
            (conditions.ready, conditions.serving, conditions.terminating),
            (Some(false), Some(true), Some(true))
        );
        assert_eq!(endpoints(&service(json!({})), &slices).subsets, None);
    }

    #[test]
    fn a_hundred_endpoints_fill_a_slice_and_names_stay() {
        let pods: Pods = (0..101).map(|index| pod(&format!("10.0.1.{index}"), 80, true)).collect();
        let first = desired(&service(json!({})), &pods);
        assert_eq!(first.values().map(|slice| slice.endpoints.as_ref().unwrap().len()).sum::<usize>(), 101);
        assert_eq!(first.len(), 2);
        assert_eq!(
            first.keys().collect::<Vec<_>>(),
            desired(&service(json!({})), &pods).keys().collect::<Vec<_>>()
        );
    }

    #[test]
    fn not_ready_addresses_are_published_where_asked() {
        let slices =
            desired(&service(json!({ "publishNotReadyAddresses": true })), &vec![pod("10.0.0.1", 80, false)]);
        assert_eq!(
            slices.values().next().unwrap().endpoints.as_ref().unwrap()[0].conditions.as_ref().unwrap().ready,
            Some(true)
        );
    }
}
