//! Ports of the host that lead to a sandbox, also while it runs.

use super::Networks;
use super::options::GatewayMode;
use super::spec::{Endpoint, Member};
use super::table::Table;
use crate::attachment::{Protocol, PublishedPort};
use crate::error::{NetworkError, Result};
use crate::ports::{Reservation, reserve_one};
use std::collections::HashMap;
use std::net::Ipv6Addr;

/// What one container may publish: each port is an element of a map, and a socket.
const PORTS_MAX: usize = 4096;

impl Networks {
    /// Makes `ports` the ports that lead to the sandbox, in place of those before; what stays the same is not touched.
    /// A port that comes with another number is any of the range that ends there. Returns them with the host ports that
    /// were picked.
    ///
    /// # Errors
    /// `AlreadyExists` naming the host port that is in use; then nothing has changed.
    pub fn publish(
        &self,
        sandbox: &str,
        ports: &[(PublishedPort, u16)],
    ) -> hako_error::Result<Vec<PublishedPort>> {
        Ok(self.republish(sandbox, ports)?)
    }

    /// Whether these ports, and no others, lead to the sandbox.
    #[must_use]
    pub fn has_published(&self, sandbox: &str, ports: &[(PublishedPort, u16)]) -> bool {
        let table = self.table.read();
        let Some(member) = table.member(sandbox) else { return ports.is_empty() };
        let Ok(ports) = led(ports, table.gateway(member)) else { return false };
        let is_granted =
            |(port, last): &(PublishedPort, u16)| member.ports.iter().any(|kept| is_same(kept, port, *last));
        member.ports.len() == ports.len() && ports.iter().all(is_granted)
    }

    fn republish(&self, sandbox: &str, ports: &[(PublishedPort, u16)]) -> Result<Vec<PublishedPort>> {
        if ports.len() > PORTS_MAX {
            return Err(NetworkError::TooManyPorts { count: ports.len(), max: PORTS_MAX });
        }
        let mut kernel = self.kernel.lock();
        let before = self.table.read().member(sandbox).cloned().unwrap_or_default();
        if ports.is_empty() && before.ports.is_empty() {
            return Ok(Vec::new());
        }
        let ports = led(ports, self.table.read().gateway(&before))?;
        let mut old = kernel.reservations.remove(sandbox).unwrap_or_default();
        let mut new = Vec::new();
        let mut granted = Vec::new();
        let routed = is_routed(&self.table.read(), &before);
        let reserved = ports.iter().try_for_each(|(port, last)| {
            if routed[usize::from(port.host_ip.is_ipv6())] {
                granted.push(PublishedPort { host_port: 0, ..*port });
                return Ok(());
            }
            let reservation = match old.iter().position(|kept| is_same(&kept.port, port, *last)) {
                Some(kept) => old.swap_remove(kept),
                None => reserve_like(&new, *port, *last)?,
            };
            granted.push(reservation.port);
            new.push(reservation);
            Ok(())
        });
        if let Err(error) = reserved {
            let known = |kept: &Reservation| before.ports.contains(&kept.port);
            old.extend(new.into_iter().filter(known));
            kernel.reservations.insert(sandbox.to_owned(), old);
            return Err(error);
        }
        let mut now = before.clone();
        now.ports.clone_from(&granted);
        kernel.reservations.insert(sandbox.to_owned(), new);
        self.table.write().put_member(sandbox, now.clone())?;
        hako_sys::failpoint!("network.publish.recorded");
        let table = self.table.read();
        kernel.rules.republish(&table, &before, &now)?;
        hako_sys::failpoint!("network.publish.ruled");
        kernel.relay(&table, sandbox)?;
        Ok(granted)
    }
}

/// Those of the ports that can lead to the sandbox. What no rule leads is relayed, but nobody can relay SCTP without the
/// kernel's sockets: there a port of all addresses is left out for a family that the sandbox has no address of.
fn led(ports: &[(PublishedPort, u16)], gateway: Option<&Endpoint>) -> Result<Vec<(PublishedPort, u16)>> {
    let mut led = Vec::new();
    for (port, last) in ports {
        let own = gateway.map(|endpoint| if port.host_ip.is_ipv6() { endpoint.v6() } else { endpoint.v4() });
        let needs_relay = own.is_some_and(|own| own.is_none()) || port.host_ip == Ipv6Addr::LOCALHOST;
        match port.protocol == Protocol::Sctp && needs_relay {
            false => led.push((*port, *last)),
            true if port.host_ip.is_unspecified() => {}
            true => return Err(NetworkError::NoSctpRelay { ip: port.host_ip, port: port.container_port }),
        }
    }
    Ok(led)
}

/// Whether a sandbox is reached at its own addresses, by IPv4 and by IPv6: then its ports are none of the host.
fn is_routed(table: &Table, member: &Member) -> [bool; 2] {
    let net = table.gateway(member).and_then(|endpoint| table.net(&endpoint.network).ok());
    [false, true].map(|v6| net.is_some_and(|net| net.gateway_mode(v6) == GatewayMode::Routed))
}

/// A port of all addresses that may be any gets the number that its sibling of the other family has, if that is free.
fn reserve_like(granted: &[Reservation], port: PublishedPort, last: u16) -> Result<Reservation> {
    let sibling = granted.iter().map(|reservation| reservation.port).find(|other| {
        let is_same = (other.container_port, other.protocol) == (port.container_port, port.protocol);
        is_same && other.host_ip.is_ipv4() != port.host_ip.is_ipv4() && other.host_ip.is_unspecified()
    });
    if let Some(sibling) = sibling
        && port.host_ip.is_unspecified()
        && (port.host_port == 0 || (port.host_port..=last).contains(&sibling.host_port))
        && let Ok(same) = reserve_one(PublishedPort { host_port: sibling.host_port, ..port })
    {
        return Ok(same);
    }
    reserve_in(port, last)
}

/// The first free port of a range; without a range, the one asked for.
fn reserve_in(port: PublishedPort, last: u16) -> Result<Reservation> {
    let range = port.host_port..=last.max(port.host_port);
    // INVARIANT: a range has a first port, so that there is a refusal at the end.
    let mut refusal = None;
    for host_port in range {
        match reserve_one(PublishedPort { host_port, ..port }) {
            Err(error @ NetworkError::PortInUse { .. }) => refusal = Some(error),
            other => return other,
        }
    }
    Err(refusal.unwrap_or(NetworkError::TooManyPorts { count: 0, max: PORTS_MAX }))
}

/// Whether a granted port is what is asked for; port 0 asks for any.
fn is_same(granted: &PublishedPort, asked: &PublishedPort, last: u16) -> bool {
    let is_any = asked.host_port == 0 || (asked.host_port..=last).contains(&granted.host_port);
    let host_port = if is_any { granted.host_port } else { asked.host_port };
    *granted == PublishedPort { host_port, ..*asked }
}

/// After a restart. A port that somebody took meanwhile is theirs to listen on, yet the rules still lead packets past
/// them; that is said, not fatal.
pub(super) fn reserve_again(table: &Table) -> HashMap<String, Vec<Reservation>> {
    let mut reservations: HashMap<String, Vec<Reservation>> = HashMap::new();
    for (sandbox, member) in table.members() {
        let routed = is_routed(table, member);
        for port in member.ports.iter().filter(|port| !routed[usize::from(port.host_ip.is_ipv6())]) {
            match reserve_one(*port) {
                Ok(kept) => reservations.entry(sandbox.clone()).or_default().push(kept),
                Err(error) => tracing::warn!(sandbox, %error, "a published port was taken"),
            }
        }
    }
    reservations
}
