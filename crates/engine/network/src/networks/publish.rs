//! Ports of the host that lead to a sandbox, also while it runs.

use super::Networks;
use super::table::Table;
use crate::attachment::PublishedPort;
use crate::error::{NetworkError, Result};
use crate::ports::{Reservation, reserve_one};
use std::collections::HashMap;

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
        let granted = table.member(sandbox).map_or(&[][..], |member| &member.ports);
        let is_granted =
            |(port, last): &(PublishedPort, u16)| granted.iter().any(|kept| is_same(kept, port, *last));
        granted.len() == ports.len() && ports.iter().all(is_granted)
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
        let mut old = kernel.reservations.remove(sandbox).unwrap_or_default();
        let mut new = Vec::new();
        let table = self.table.read();
        let has_ipv6 = table.gateway(&before).is_some_and(|endpoint| endpoint.v6().is_some());
        drop(table);
        let reserved = ports.iter().try_for_each(|(port, last)| {
            if port.host_ip.is_ipv6() && !has_ipv6 {
                return Err(NetworkError::NoIpv6 { ip: port.host_ip, port: port.container_port });
            }
            let reservation = match old.iter().position(|kept| is_same(&kept.port, port, *last)) {
                Some(kept) => old.swap_remove(kept),
                None => reserve_in(*port, *last)?,
            };
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
        now.ports = new.iter().map(|reservation| reservation.port).collect();
        let granted = now.ports.clone();
        kernel.reservations.insert(sandbox.to_owned(), new);
        self.table.write().put_member(sandbox, now.clone())?;
        hako_sys::failpoint!("network.publish.recorded");
        kernel.rules.republish(&self.table.read(), &before, &now)?;
        hako_sys::failpoint!("network.publish.ruled");
        Ok(granted)
    }
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
        for port in &member.ports {
            match reserve_one(*port) {
                Ok(kept) => reservations.entry(sandbox.clone()).or_default().push(kept),
                Err(error) => tracing::warn!(sandbox, %error, "a published port was taken"),
            }
        }
    }
    reservations
}
