//! The slices that mirror Endpoints. Pure.

use crate::conditions::{fnv32, safe_encode};
use crate::endpointslice::{MANAGER_LABEL, SERVICE_LABEL};
use crate::wiring::Key;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Addresses of one subset that are mirrored; the rest is left out.
const PER_SUBSET: usize = 1000;

/// Whether Endpoints are kept by hand: their service has no selector, and nothing says that they are something else.
pub(super) fn is_mirrored(endpoints: &Endpoints, service: &Service) -> bool {
    let label = endpoints.metadata.labels.as_ref().and_then(|labels| labels.get(SKIP));
    let is_lock = endpoints.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(LEADER));
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    label.is_none_or(|value| value != "true") && !is_lock && selector.is_none_or(BTreeMap::is_empty)
}

/// All slices that mirror Endpoints, by name: one for each subset and family of addresses.
pub(super) fn desired(endpoints: &Endpoints) -> BTreeMap<String, EndpointSlice> {
    let mut slices = BTreeMap::new();
    for (number, subset) in endpoints.subsets.iter().flatten().enumerate() {
        for family in ["IPv4", "IPv6"] {
            let members = members(subset, family);
            if !members.is_empty() {
                let slice = slice(endpoints, subset, number, family, members);
                slices.insert(slice.metadata.name.clone().unwrap_or_default(), slice);
            }
        }
    }
    slices
}

fn members(subset: &EndpointSubset, family: &str) -> Vec<Endpoint> {
    let is_of_family = |address: &&EndpointAddress| {
        address.ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() == (family == "IPv4"))
    };
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let others = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
    let all = ready.chain(others).filter(|(address, _)| is_of_family(address)).take(PER_SUBSET);
    all.map(|(address, is_ready)| member(address, is_ready)).collect()
}

fn member(address: &EndpointAddress, is_ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(is_ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn slice(
    endpoints: &Endpoints,
    subset: &EndpointSubset,
    number: usize,
    family: &str,
    members: Vec<Endpoint>,
) -> EndpointSlice {
    let name = endpoints.metadata.name.clone().unwrap_or_default();
    let seed = format!("{:?}/{number}/{family}", endpoints.metadata.uid);
    let hash: String = safe_encode(fnv32(seed.bytes())).chars().take(5).collect();
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_LABEL.into(), name.clone());
    labels.insert(MANAGER_LABEL.into(), MANAGER.into());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| key != LAST_CHANGE && key != LAST_APPLIED);
    let port = |port: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: port.protocol.clone().or_else(|| Some("TCP".into())),
        app_protocol: port.app_protocol.clone(),
    };
    EndpointSlice {
        address_type: family.into(),
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", name.chars().take(57).collect::<String>())),
            namespace: endpoints.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations).filter(|all| !all.is_empty()),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".into(),
                kind: "Endpoints".into(),
                name,
                uid: endpoints.metadata.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        endpoints: Some(members),
        ports: Some(subset.ports.iter().flatten().map(port).collect()),
    }
}

/// The key of the Endpoints that a slice of ours mirrors.
pub(super) fn source_of(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    let is_ours = labels.get(MANAGER_LABEL).map(String::as_str) == Some(MANAGER);
    let name = labels.get(SERVICE_LABEL).filter(|_| is_ours)?;
    Some((slice.metadata.namespace.clone().unwrap_or_default(), name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn endpoints() -> Endpoints {
        let subset = json!({ "addresses": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }],
            "notReadyAddresses": [{ "ip": "10.0.0.2" }], "ports": [{ "port": 80 }] });
        let object = json!({ "metadata": { "name": "web", "namespace": "n", "uid": "u", "labels": { "a": "b" } },
            "subsets": [subset] });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn each_family_of_addresses_has_a_slice() {
        let slices: Vec<EndpointSlice> = desired(&endpoints()).into_values().collect();
        let of = |family: &str| slices.iter().find(|slice| slice.address_type == family).unwrap();
        let ready: Vec<Option<bool>> =
            of("IPv4").endpoints.iter().flatten().map(|one| one.conditions.as_ref().unwrap().ready).collect();
        assert_eq!(ready, [Some(true), Some(false)]);
        assert_eq!(of("IPv6").endpoints.as_ref().unwrap()[0].addresses, ["fd00::1"]);
        assert_eq!(source_of(of("IPv6")), Some(("n".into(), "web".into())));
        assert_eq!(of("IPv4").metadata.labels.as_ref().unwrap()["a"], "b");
    }

    #[test]
    fn what_is_made_by_others_is_not_mirrored() {
        let service = |spec| serde_json::from_value::<Service>(json!({ "spec": spec })).unwrap();
        let plain = service(json!({}));
        assert!(is_mirrored(&endpoints(), &plain));
        assert!(!is_mirrored(&endpoints(), &service(json!({ "selector": { "a": "b" } }))));
        let mut skipped = endpoints();
        skipped.metadata.labels = Some([(SKIP.to_owned(), "true".to_owned())].into());
        assert!(!is_mirrored(&skipped, &plain));
        let mut lock = endpoints();
        lock.metadata.annotations = Some([(LEADER.to_owned(), "{}".to_owned())].into());
        assert!(!is_mirrored(&lock, &plain));
    }
}
