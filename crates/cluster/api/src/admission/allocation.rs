//! Addresses and node ports of services. Taken before the write, given back if it fails.
//!
//! Which service has an address is also said by an IPAddress of that name, which comes and goes in the step of the store
//! that changes the service: by it, servers on one store do not give the same address twice.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use hako_error::FieldCause;
use hako_kube::field;
use hako_store::{Along, Expect, Op, Range};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tokio::sync::{Notify, OnceCell};

use super::ranges::{Cidr, Ranges, Refused};
use super::service_addresses as addresses;
use crate::http::Outcome;
use crate::kinds;
use crate::resource::{Target, head_value, registry_prefix};
use crate::server::Inner;

/// Who holds an address that is an IPAddress of no service.
const OTHERS: &str = "";

/// What services hold; read from the store when first needed.
#[derive(Debug, Default)]
pub(crate) struct Allocations {
    ranges: OnceCell<Arc<Mutex<Ranges>>>,
    /// As ServiceCIDRs say; until they are read, as the configuration says.
    cidrs: RwLock<Option<Arc<[Cidr]>>>,
    /// Woken when an IPAddress has gone, or is another one.
    pub(super) changed: Arc<Notify>,
}

/// What was taken for one write.
#[derive(Debug)]
pub(crate) struct Reservation {
    ranges: Option<Arc<Mutex<Ranges>>>,
    owner: String,
    /// Given back if the write fails.
    taken: Held,
    /// Given back if the write succeeds.
    dropped: Held,
    /// Whether nobody has chosen the address.
    is_any: bool,
    /// The IPAddresses of these.
    along: Vec<Along>,
}

/// Addresses and ports of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    ips: Vec<Ipv4Addr>,
    ports: Vec<(u16, String)>,
}

impl Held {
    fn of(service: &Value) -> Self {
        let ips = service.pointer("/spec/clusterIPs").and_then(Value::as_array).into_iter().flatten();
        let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
        let mut ports: Vec<(u16, String)> =
            ports.filter_map(|port| Some((node_port(port)?, protocol(port).to_owned()))).collect();
        ports.extend(health_port(service).map(|port| (port, "TCP".to_owned())));
        Self { ips: ips.filter_map(|ip| ip.as_str()?.parse().ok()).collect(), ports }
    }

    fn without(&self, other: &Self) -> Self {
        Self {
            ips: self.ips.iter().filter(|ip| !other.ips.contains(ip)).copied().collect(),
            ports: self.ports.iter().filter(|port| !other.ports.contains(port)).cloned().collect(),
        }
    }

    fn free(&self, ranges: &mut Ranges, owner: &str) {
        self.ips.iter().for_each(|ip| ranges.free_ip(*ip, owner));
        self.ports.iter().for_each(|(port, protocol)| ranges.free_port(*port, protocol, owner));
    }
}

impl Reservation {
    pub(crate) fn none() -> Self {
        Self {
            ranges: None,
            owner: String::new(),
            taken: Held::default(),
            dropped: Held::default(),
            is_any: false,
            along: Vec::new(),
        }
    }

    fn of(ranges: &Arc<Mutex<Ranges>>, owner: &str) -> Self {
        let mut reservation = Self::none();
        reservation.ranges = Some(Arc::clone(ranges));
        owner.clone_into(&mut reservation.owner);
        reservation
    }

    /// What the write takes along.
    pub(crate) fn along(&self) -> Vec<Along> {
        self.along.clone()
    }

    /// Notes that somebody else has an address that was taken, if the key is that of its IPAddress.
    pub(crate) fn is_lost(&mut self, key: &[u8]) -> bool {
        let is_ours = |change: &&Along| change.key == key && change.expect == Expect::Absent;
        if self.along.iter().find(is_ours).is_none() {
            return false;
        }
        if let Some(ranges) = &self.ranges {
            let mut ranges = ranges.lock();
            for ip in self.taken.ips.drain(..).filter(|ip| *addresses::key(*ip) == *key) {
                ranges.free_ip(ip, &self.owner);
                let _ = ranges.hold_ip(ip, OTHERS);
            }
        }
        true
    }

    /// Takes out of a new service what was not asked for, so that it can be filled in anew.
    pub(crate) fn clear(&self, service: &mut Value) {
        if let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut).filter(|_| self.is_any) {
            spec.shift_remove("clusterIP");
            spec.shift_remove("clusterIPs");
        }
    }

    /// The write succeeded.
    pub(crate) fn keep(mut self) {
        if let Some(ranges) = self.ranges.take() {
            self.dropped.free(&mut ranges.lock(), &self.owner);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(ranges) = &self.ranges {
            self.taken.free(&mut ranges.lock(), &self.owner);
        }
    }
}

impl Allocations {
    async fn ranges(&self, server: &Inner) -> Outcome<Arc<Mutex<Ranges>>> {
        let ranges = self.ranges.get_or_try_init(|| load(server)).await?;
        ranges.lock().set_cidrs(&self.cidrs(server));
        Ok(Arc::clone(ranges))
    }

    fn cidrs(&self, server: &Inner) -> Arc<[Cidr]> {
        let (network, prefix) = server.config.service_cidr;
        let known = self.cidrs.read().clone();
        known.unwrap_or_else(|| [Cidr::new(network, prefix)].into())
    }

    /// From which ranges addresses are given from now on.
    pub(super) fn set_cidrs(&self, cidrs: Vec<Cidr>) {
        *self.cidrs.write() = Some(cidrs.into());
    }

    /// Fills in and takes what the service asks for.
    pub(crate) async fn reserve(
        &self,
        server: &Inner,
        target: &Target,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Outcome<Reservation> {
        let shared = self.ranges(server).await?;
        let owner = owner_of(service);
        let before = old.map(Held::of).unwrap_or_default();
        let mut reservation = Reservation::of(&shared, &owner);
        let wanted = service.pointer("/spec/clusterIP").and_then(Value::as_str);
        reservation.is_any = wanted.is_none_or(str::is_empty);
        let outcome = {
            let mut ranges = shared.lock();
            take_all(&mut ranges, service, &before, &owner, &mut reservation.taken)
        };
        outcome.map_err(|cause| target.invalid(vec![cause]))?;
        reservation.dropped = before.without(&Held::of(service));
        let made = reservation.taken.ips.iter().map(|ip| made(*ip, service));
        reservation.along = made.collect::<Outcome<_>>()?;
        if !reservation.dropped.ips.is_empty() {
            reservation.along.extend(gone(server, &reservation.dropped.ips, &owner).await?);
        }
        Ok(reservation)
    }

    /// Notes that an address is an IPAddress of no service.
    pub(super) async fn reserve_others(&self, server: &Inner, name: &str) -> Outcome<Reservation> {
        let Ok(ip) = name.parse() else { return Ok(Reservation::none()) };
        let ranges = self.ranges(server).await?;
        let mut reservation = Reservation::of(&ranges, OTHERS);
        // One that a service has is there already, or is about to be made again.
        if ranges.lock().hold_ip(ip, OTHERS).is_ok() {
            reservation.taken.ips.push(ip);
        }
        Ok(reservation)
    }

    /// The IPAddresses that go with a service.
    pub(super) async fn leaving(&self, server: &Inner, service: &Value) -> Outcome<Vec<Along>> {
        gone(server, &Held::of(service).ips, &owner_of(service)).await
    }

    /// Gives back all a service held.
    pub(crate) fn release(&self, service: &Value) {
        if let Some(ranges) = self.ranges.get() {
            Held::of(service).free(&mut ranges.lock(), &owner_of(service));
        }
    }

    /// Gives back an address that was an IPAddress of no service.
    pub(super) fn free_others(&self, ip: Ipv4Addr) {
        if let Some(ranges) = self.ranges.get() {
            ranges.lock().free_ip(ip, OTHERS);
        }
    }

    /// Gives back an address whose IPAddress is gone. One of a service gets another one.
    pub(super) fn release_others(&self, name: &str) {
        if let Ok(ip) = name.parse() {
            self.free_others(ip);
        }
        self.changed.notify_one();
    }
}

/// The making of the IPAddress of a service.
fn made(ip: Ipv4Addr, service: &Value) -> Outcome<Along> {
    let (namespace, name) = (head_value(service, "namespace"), head_value(service, "name"));
    let value = addresses::encoded(ip, namespace, name)?;
    Ok(Along { key: addresses::key(ip), expect: Expect::Absent, op: Op::Put { value, lease: None } })
}

/// The end of IPAddresses, as far as they are those of the service and nobody else holds them.
async fn gone(server: &Inner, ips: &[Ipv4Addr], owner: &str) -> Outcome<Vec<Along>> {
    let mut all = Vec::new();
    for ip in ips {
        let key = addresses::key(*ip);
        if let Some(entry) = server.config.store.get(&key).await?.entry
            && addresses::Found::parse(&entry.value).is_some_and(|it| it.is_of(owner) && !it.is_held())
        {
            all.push(Along { key, expect: Expect::At(entry.modified), op: Op::Delete });
        }
    }
    Ok(all)
}

async fn load(server: &Inner) -> Outcome<Arc<Mutex<Ranges>>> {
    let cidrs = server.allocations.cidrs(server);
    let mut ranges = Ranges::new(cidrs, server.config.node_ports.clone());
    if let Some(row) = kinds::by_resource("", "v1", "services") {
        let page = server.config.store.range(Range::all(Bytes::from(registry_prefix(row, "")))).await?;
        for entry in &page.entries {
            let service: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
            let owner = owner_of(&service);
            let held = Held::of(&service);
            for ip in held.ips {
                if ranges.hold_ip(ip, &owner).is_err() {
                    tracing::warn!(service = owner, %ip, "service address is held twice");
                }
            }
            for (port, protocol) in held.ports {
                if ranges.take_port(port, &protocol, &owner).is_err() {
                    tracing::warn!(service = owner, port, "node port is outside of the range or held twice");
                }
            }
        }
    }
    for entry in addresses::all(server, None).await?.entries {
        if let Some(ip) = addresses::ip_of(&entry.key) {
            let _ = ranges.hold_ip(ip, OTHERS);
        }
    }
    Ok(Arc::new(Mutex::new(ranges)))
}

fn take_all(
    ranges: &mut Ranges,
    service: &mut Value,
    before: &Held,
    owner: &str,
    taken: &mut Held,
) -> Result<(), FieldCause> {
    let kind = service.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP").to_owned();
    if kind == "ExternalName" {
        return Ok(());
    }
    take_ip(ranges, service, before, owner, taken)?;
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        take_ports(ranges, service, before, owner, taken)?;
    }
    let is_local = service.pointer("/spec/externalTrafficPolicy").is_some_and(|policy| policy == "Local");
    if kind == "LoadBalancer" && is_local {
        take_health_port(ranges, service, before, owner, taken)?;
    }
    Ok(())
}

/// The port at which every node says whether it has a pod of the service.
fn take_health_port(
    ranges: &mut Ranges,
    service: &mut Value,
    before: &Held,
    owner: &str,
    taken: &mut Held,
) -> Result<(), FieldCause> {
    const PATH: &str = "spec.healthCheckNodePort";
    let number = match health_port(service) {
        None => {
            let full = |_| field::invalid(PATH, 0, "failed to allocate a healthCheckNodePort: range is full");
            ranges.any_port("TCP", owner, random()).map_err(full)?
        }
        Some(number) => {
            let valid = ranges.port_range();
            let refused = |refused| field::invalid(PATH, number, &why(refused, &valid));
            ranges.take_port(number, "TCP", owner).map_err(refused)?;
            number
        }
    };
    let held = (number, "TCP".to_owned());
    if !before.ports.contains(&held) {
        taken.ports.push(held);
    }
    service["spec"]["healthCheckNodePort"] = number.into();
    Ok(())
}

fn take_ip(
    ranges: &mut Ranges,
    service: &mut Value,
    before: &Held,
    owner: &str,
    taken: &mut Held,
) -> Result<(), FieldCause> {
    let wanted = service.pointer("/spec/clusterIP").and_then(Value::as_str).unwrap_or("").to_owned();
    if wanted == "None" {
        return Ok(());
    }
    let ip = if wanted.is_empty() {
        let full =
            |_| field::invalid("spec.clusterIPs", json!([]), "failed to allocate a serviceIP: range is full");
        ranges.any_ip(owner, random()).map_err(full)?
    } else {
        let Ok(ip) = wanted.parse::<Ipv4Addr>() else {
            return Err(field::invalid("spec.clusterIPs[0]", wanted, "only IPv4 addresses can be allocated"));
        };
        let refused = |refused| {
            let why = match refused {
                Refused::OutOfRange => "the provided network does not match the current range".to_owned(),
                Refused::Edge(cidr) => out_of("IP", &cidr),
                _ => taken_already("IP"),
            };
            let text = format!("failed to allocate IP {wanted}: {why}");
            field::invalid("spec.clusterIPs", json!([wanted]), &text)
        };
        let is_had = before.ips.contains(&ip);
        if is_had { ranges.hold_ip(ip, owner) } else { ranges.take_ip(ip, owner) }.map_err(refused)?;
        ip
    };
    if !before.ips.contains(&ip) {
        taken.ips.push(ip);
    }
    service["spec"]["clusterIP"] = ip.to_string().into();
    service["spec"]["clusterIPs"] = json!([ip.to_string()]);
    Ok(())
}

fn take_ports(
    ranges: &mut Ranges,
    service: &mut Value,
    before: &Held,
    owner: &str,
    taken: &mut Held,
) -> Result<(), FieldCause> {
    let is_refused = service.pointer("/spec/allocateLoadBalancerNodePorts") == Some(&Value::Bool(false));
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for (index, port) in ports.into_iter().flatten().enumerate() {
        let path = format!("spec.ports[{index}].nodePort");
        let protocol = protocol(port).to_owned();
        let number = match node_port(port) {
            None if is_refused => continue,
            None => {
                let full =
                    |_| field::invalid(path.as_str(), 0, "failed to allocate a nodePort: range is full");
                ranges.any_port(&protocol, owner, random()).map_err(full)?
            }
            Some(number) => {
                let valid = ranges.port_range();
                let refused = |refused| field::invalid(path.as_str(), number, &why(refused, &valid));
                ranges.take_port(number, &protocol, owner).map_err(refused)?;
                number
            }
        };
        if !before.ports.contains(&(number, protocol.clone())) {
            taken.ports.push((number, protocol));
        }
        port["nodePort"] = number.into();
    }
    Ok(())
}

/// Why a port that was asked for is not given.
fn why(refused: Refused, valid: &str) -> String {
    if refused == Refused::OutOfRange { out_of("port", &valid) } else { taken_already("port") }
}

fn out_of(what: &str, range: &dyn std::fmt::Display) -> String {
    format!("provided {what} is not in the valid range. The range of valid {what}s is {range}")
}

fn taken_already(what: &str) -> String {
    format!("provided {what} is already allocated")
}

fn owner_of(service: &Value) -> String {
    format!("{}/{}", head_value(service, "namespace"), head_value(service, "name"))
}

fn node_port(port: &Value) -> Option<u16> {
    let number = port.get("nodePort").and_then(Value::as_u64)?;
    u16::try_from(number).ok().filter(|number| *number != 0)
}

fn health_port(service: &Value) -> Option<u16> {
    let number = service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64)?;
    u16::try_from(number).ok().filter(|number| *number != 0)
}

fn protocol(port: &Value) -> &str {
    port.get("protocol").and_then(Value::as_str).unwrap_or("TCP")
}

fn random() -> u32 {
    let bytes = *uuid::Uuid::new_v4().as_bytes();
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
