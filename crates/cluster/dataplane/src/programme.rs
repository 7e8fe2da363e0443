//! What the kernel should hold for one service.

use crate::endpoints::{Locality, PortName, Target, in_stable_order, targets};
use crate::index::{Index, ServiceKey, cluster_ips, external_name};
use crate::layout::{Part, Table, balance, goto, key, stick};
use hako_netlink::nft::{Data, Rule};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

/// An entry of a set or map.
pub(crate) type EntryKey = (Table, Vec<u8>);

/// Transport protocol and port of the host.
pub(crate) type NodePort = (u8, u16);

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// What the kernel should hold for one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Programme {
    pub(crate) entries: BTreeMap<EntryKey, Option<Data>>,
    pub(crate) chains: BTreeMap<String, Vec<Rule>>,
    /// The targets of each chain, to keep their order by.
    order: BTreeMap<String, Vec<Target>>,
    /// Where datagrams go, whose connections have to be forgotten when a target goes.
    pub(crate) datagram_targets: BTreeSet<Target>,
}

/// Numbers for backends, unique in the table and the same after a restart but for rare collisions.
#[derive(Debug, Default)]
pub(crate) struct Backends {
    by_number: HashMap<u32, String>,
}

impl Backends {
    fn number(&mut self, chain: &str) -> u32 {
        let mut number = chain
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        loop {
            match self.by_number.get(&number) {
                Some(owner) if owner == chain => return number,
                Some(_) => number = number.wrapping_add(1),
                None => {
                    self.by_number.insert(number, chain.to_owned());
                    return number;
                }
            }
        }
    }

    /// Forgets the numbers of chains that are gone.
    pub(crate) fn release(&mut self, chain: &str) {
        self.by_number.retain(|_, owner| owner != chain);
    }
}

/// What a programme is written from besides the service.
pub(crate) struct Context<'a> {
    pub(crate) index: &'a Index,
    pub(crate) node: &'a str,
    /// Whether a node port is ours to serve.
    pub(crate) is_claimed: &'a dyn Fn(NodePort) -> bool,
    pub(crate) backends: &'a mut Backends,
}

/// The node ports a service asks for.
pub(crate) fn node_ports(service: &Service) -> Vec<NodePort> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let ports = spec.ports.iter().flatten();
    ports.filter_map(|port| Some((protocol(port)?, node_port(spec, port)?))).collect()
}

fn node_port(spec: &ServiceSpec, port: &ServicePort) -> Option<u16> {
    let has_node_ports = matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"));
    let number = port.node_port.filter(|number| has_node_ports && *number > 0)?;
    u16::try_from(number).ok()
}

fn protocol(port: &ServicePort) -> Option<u8> {
    match port.protocol.as_deref().unwrap_or("TCP") {
        "TCP" => Some(TCP),
        "UDP" => Some(UDP),
        _ => None,
    }
}

/// Writes the programme of a service; `before` is the one it replaces.
pub(crate) fn programme(
    context: &mut Context<'_>,
    owner: &ServiceKey,
    before: Option<&Programme>,
) -> Programme {
    let mut programme = Programme::default();
    let Some(service) = context.index.service(owner) else {
        return programme;
    };
    let (Some(spec), None) = (&service.spec, external_name(service)) else {
        return programme;
    };
    let ips = cluster_ips(service);
    if ips.is_empty() {
        return programme;
    }
    for port in spec.ports.iter().flatten() {
        let (Some(protocol), Ok(number)) = (protocol(port), u16::try_from(port.port)) else {
            continue;
        };
        let mut writer =
            PortWriter { context, owner, spec, port, protocol, before, programme: &mut programme };
        let (inside, outside) = writer.backends();
        for ip in &ips {
            writer.lead(*ip, number, inside.as_deref());
        }
        for ip in external_ips(service) {
            writer.lead(ip, number, outside.as_deref());
        }
        if let Some(port) = node_port(spec, port) {
            writer.lead_node_port((protocol, port), outside.as_deref());
        }
    }
    programme
}

/// Addresses that reach the service from outside of the cluster.
fn external_ips(service: &Service) -> Vec<Ipv4Addr> {
    let spec = service.spec.iter().flat_map(|spec| spec.external_ips.iter().flatten());
    let balancer = service.status.iter().flat_map(|status| &status.load_balancer);
    let ingress = balancer.flat_map(|status| status.ingress.iter().flatten()).filter_map(|it| it.ip.as_ref());
    spec.chain(ingress).filter_map(|text| text.parse().ok()).collect()
}

struct PortWriter<'a, 'c> {
    context: &'a mut Context<'c>,
    owner: &'a ServiceKey,
    spec: &'a ServiceSpec,
    port: &'a ServicePort,
    protocol: u8,
    before: Option<&'a Programme>,
    programme: &'a mut Programme,
}

impl PortWriter<'_, '_> {
    /// The chains for what comes from inside and from outside of the cluster; none without targets.
    fn backends(&mut self) -> (Option<String>, Option<String>) {
        let is_local = |policy: &Option<String>| policy.as_deref() == Some("Local");
        let inside_local = is_local(&self.spec.internal_traffic_policy);
        let outside_local = is_local(&self.spec.external_traffic_policy);
        let inside = self.backend(inside_local);
        let outside =
            if inside_local == outside_local { inside.clone() } else { self.backend(outside_local) };
        (inside, outside)
    }

    fn backend(&mut self, is_local: bool) -> Option<String> {
        let (namespace, service) = self.owner;
        let name = self.port.name.as_deref().unwrap_or("");
        let kind = if is_local { "local" } else { "svc" };
        let word = if self.protocol == TCP { "tcp" } else { "udp" };
        let chain = format!("{kind}-{namespace}.{service}.{name}.{word}");
        let port = PortName { name, protocol: self.port.protocol.as_deref().unwrap_or("TCP") };
        let locality = if is_local { Locality::Node(self.context.node) } else { Locality::Cluster };
        let wanted = targets(self.context.index, self.owner, port, locality);
        if wanted.is_empty() {
            return None;
        }
        let before = self.before.and_then(|before| before.order.get(&chain)).map_or(&[][..], Vec::as_slice);
        let targets = in_stable_order(before, wanted);
        self.write_backend(&chain, &targets);
        self.programme.order.insert(chain.clone(), targets);
        Some(chain)
    }

    fn write_backend(&mut self, chain: &str, targets: &[Target]) {
        let number = self.context.backends.number(chain);
        for (index, (ip, port)) in (0..).zip(targets) {
            let target = key(&[Part::Ip(*ip), Part::Port(*port)]);
            self.put(
                Table::Endpoints,
                key(&[Part::Number(number), Part::Number(index)]),
                Some(Data::Value(target)),
            );
            self.put(Table::Hairpin, key(&[Part::Ip(*ip), Part::Ip(*ip)]), None);
        }
        if self.protocol == UDP {
            self.programme.datagram_targets.extend(targets);
        }
        let rules = match affinity(self.spec) {
            Some(timeout) => stick(number, targets, timeout),
            None => balance(number, u32::try_from(targets.len()).unwrap_or(u32::MAX)),
        };
        self.programme.chains.insert(chain.to_owned(), rules);
    }

    fn lead(&mut self, ip: Ipv4Addr, port: u16, chain: Option<&str>) {
        if let Some(chain) = chain {
            let key = key(&[Part::Ip(ip), Part::Protocol(self.protocol), Part::Port(port)]);
            self.put(Table::Services, key, Some(Data::Verdict(goto(chain))));
        }
    }

    fn lead_node_port(&mut self, (protocol, port): NodePort, chain: Option<&str>) {
        if !(self.context.is_claimed)((protocol, port)) {
            return;
        }
        let key = key(&[Part::Protocol(protocol), Part::Port(port)]);
        match chain {
            Some(chain) => self.put(Table::NodePorts, key, Some(Data::Verdict(goto(chain)))),
            None => self.put(Table::Unserved, key, None),
        }
    }

    fn put(&mut self, table: Table, key: Vec<u8>, data: Option<Data>) {
        self.programme.entries.insert((table, key), data);
    }
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(10_800);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(10_800).max(1)))
}
