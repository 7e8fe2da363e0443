//! Which endpoints of a service take new connections.

use crate::index::{Index, ServiceKey};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// An address and port that connections are sent to.
pub(crate) type Target = (Ipv4Addr, u16);

/// An endpoint as DNS sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamedEndpoint {
    pub(crate) ip: Ipv4Addr,
    pub(crate) hostname: Option<String>,
    /// Name, protocol in lower case and number of each port.
    pub(crate) ports: Vec<(String, String, u16)>,
}

impl NamedEndpoint {
    /// Its label below the service's name.
    pub(crate) fn label(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| self.ip.to_string().replace('.', "-"))
    }
}

/// A port that targets are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortName<'a> {
    pub(crate) name: &'a str,
    pub(crate) protocol: &'a str,
}

/// Which endpoints count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Locality<'a> {
    Cluster,
    /// Only those on this node.
    Node(&'a str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Ready,
    /// On its way out, and still answering: for want of better.
    LeavingButServing,
    No,
}

fn condition(endpoint: &Endpoint) -> Condition {
    let Some(conditions) = &endpoint.conditions else {
        return Condition::Ready;
    };
    let is_ready = conditions.ready.unwrap_or(true);
    if is_ready {
        return Condition::Ready;
    }
    let is_leaving = conditions.terminating.unwrap_or(false);
    if is_leaving && conditions.serving.unwrap_or(is_ready) {
        Condition::LeavingButServing
    } else {
        Condition::No
    }
}

fn ipv4(endpoint: &Endpoint) -> Option<Ipv4Addr> {
    endpoint.addresses.first()?.parse().ok()
}

/// The targets of one service port: the ready endpoints, or without any those that are leaving and still serve;
/// never one that was withdrawn.
pub(crate) fn targets(
    index: &Index,
    key: &ServiceKey,
    port: PortName<'_>,
    locality: Locality<'_>,
) -> BTreeSet<Target> {
    let (mut ready, mut leaving) = (BTreeSet::new(), BTreeSet::new());
    for slice in index.slices(key).filter(|slice| slice.address_type == "IPv4") {
        let Some(number) = port_number(slice, port) else {
            continue;
        };
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(ip) = ipv4(endpoint) else { continue };
            let is_near = match locality {
                Locality::Cluster => true,
                Locality::Node(node) => endpoint.node_name.as_deref() == Some(node),
            };
            if !is_near || index.withdrawn.contains(&ip) {
                continue;
            }
            match condition(endpoint) {
                Condition::Ready => ready.insert((ip, number)),
                Condition::LeavingButServing => leaving.insert((ip, number)),
                Condition::No => false,
            };
        }
    }
    if ready.is_empty() { leaving } else { ready }
}

fn port_number(slice: &EndpointSlice, port: PortName<'_>) -> Option<u16> {
    let found = slice.ports.iter().flatten().find(|found| {
        found.name.as_deref().unwrap_or("") == port.name
            && found.protocol.as_deref().unwrap_or("TCP") == port.protocol
    })?;
    u16::try_from(found.port?).ok()
}

/// The ready endpoints of a service with their names, for DNS.
pub(crate) fn endpoints_of(index: &Index, key: &ServiceKey) -> Vec<NamedEndpoint> {
    let mut all = BTreeSet::new();
    for slice in index.slices(key).filter(|slice| slice.address_type == "IPv4") {
        let ports: Vec<_> = slice
            .ports
            .iter()
            .flatten()
            .filter_map(|port| {
                let protocol = port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
                Some((port.name.clone().unwrap_or_default(), protocol, u16::try_from(port.port?).ok()?))
            })
            .collect();
        for endpoint in slice.endpoints.iter().flatten().filter(|it| condition(it) == Condition::Ready) {
            let Some(ip) = ipv4(endpoint).filter(|ip| !index.withdrawn.contains(ip)) else {
                continue;
            };
            let hostname = endpoint.hostname.clone().filter(|name| !name.is_empty());
            all.insert(NamedEndpoint { ip, hostname, ports: ports.clone() });
        }
    }
    all.into_iter().collect()
}

/// Keeps what stays where it is and puts what is new into the holes, so that few entries of the kernel's map change.
pub(crate) fn in_stable_order(before: &[Target], mut wanted: BTreeSet<Target>) -> Vec<Target> {
    let len = wanted.len();
    let mut slots: Vec<Option<Target>> =
        before.iter().take(len).map(|target| wanted.remove(target).then_some(*target)).collect();
    slots.resize(len, None);
    let mut rest = wanted.into_iter();
    slots.into_iter().filter_map(|slot| slot.or_else(|| rest.next())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    const PORT: PortName<'_> = PortName { name: "", protocol: "TCP" };

    fn index(endpoints: serde_json::Value) -> (Index, ServiceKey) {
        let slice = json!({
            "metadata": {"name": "s", "namespace": "n", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints,
        });
        let mut index = Index::default();
        let key = index.put_slice(Arc::new(serde_json::from_value(slice).unwrap())).unwrap();
        (index, key)
    }

    fn octets(targets: BTreeSet<Target>) -> Vec<u8> {
        targets.into_iter().map(|(ip, _)| ip.octets()[3]).collect()
    }

    #[test]
    fn leaving_endpoints_count_only_when_none_is_ready() {
        let leaving = json!({"addresses": ["10.0.0.2"],
            "conditions": {"ready": false, "serving": true, "terminating": true}});
        let (both, key) = index(json!([{"addresses": ["10.0.0.1"]}, leaving]));
        assert_eq!(octets(targets(&both, &key, PORT, Locality::Cluster)), [1]);
        let (alone, key) =
            index(json!([leaving, {"addresses": ["10.0.0.3"], "conditions": {"ready": false}}]));
        assert_eq!(octets(targets(&alone, &key, PORT, Locality::Cluster)), [2]);
    }

    #[test]
    fn withdrawn_endpoints_never_count_and_local_means_this_node() {
        let (mut index, key) = index(json!([
            {"addresses": ["10.0.0.1"], "nodeName": "a"},
            {"addresses": ["10.0.0.2"], "nodeName": "b"},
        ]));
        assert_eq!(octets(targets(&index, &key, PORT, Locality::Node("b"))), [2]);
        index.withdrawn.insert([10, 0, 0, 2].into());
        assert_eq!(octets(targets(&index, &key, PORT, Locality::Node("b"))), [] as [u8; 0]);
        assert_eq!(octets(targets(&index, &key, PORT, Locality::Cluster)), [1]);
        assert_eq!(index.services_of([10, 0, 0, 2].into()), [key]);
    }

    #[test]
    fn order_is_stable_and_without_holes() {
        let target = |n: u8| (Ipv4Addr::new(10, 0, 0, n), 80);
        let order = |before: &[u8], wanted: &[u8]| -> Vec<u8> {
            let before: Vec<_> = before.iter().copied().map(target).collect();
            let after = in_stable_order(&before, wanted.iter().copied().map(target).collect());
            after.into_iter().map(|(ip, _)| ip.octets()[3]).collect()
        };
        assert_eq!(order(&[], &[3, 1]), [1, 3]);
        assert_eq!(order(&[3, 1, 2], &[1, 2]), [2, 1]);
        assert_eq!(order(&[3, 1, 2], &[3, 2, 9, 1]), [3, 1, 2, 9]);
        assert_eq!(order(&[3, 1, 2], &[]), [] as [u8; 0]);
    }
}
