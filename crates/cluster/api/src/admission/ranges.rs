//! Which addresses and node ports are taken. Pure; the random part comes from the caller.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Free and taken addresses and ports, by the service that holds them.
#[derive(Debug)]
pub(super) struct Ranges {
    network: u32,
    size: u32,
    ports: RangeInclusive<u16>,
    taken_ips: HashMap<Ipv4Addr, String>,
    taken_ports: HashMap<(u16, String), String>,
}

/// Why an address or port cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Taken,
    OutOfRange,
    Full,
}

impl Ranges {
    pub(super) fn new(network: Ipv4Addr, prefix: u8, ports: RangeInclusive<u16>) -> Self {
        let bits = 32 - u32::from(prefix.min(30));
        let size = 1_u32.checked_shl(bits).unwrap_or(u32::MAX);
        let network = u32::from(network) & !(size - 1);
        Self { network, size, ports, taken_ips: HashMap::new(), taken_ports: HashMap::new() }
    }

    /// Takes an address for an owner; one it holds already is fine.
    pub(super) fn take_ip(&mut self, ip: Ipv4Addr, owner: &str) -> Result<(), Refused> {
        let offset = u32::from(ip).wrapping_sub(self.network);
        if offset == 0 || offset >= self.size - 1 {
            return Err(Refused::OutOfRange);
        }
        match self.taken_ips.get(&ip) {
            Some(holder) if holder != owner => Err(Refused::Taken),
            _ => {
                self.taken_ips.insert(ip, owner.to_owned());
                Ok(())
            }
        }
    }

    /// Takes any address, from the upper part of the range first: the lower is for those who choose.
    pub(super) fn any_ip(&mut self, owner: &str, random: u32) -> Result<Ipv4Addr, Refused> {
        let lower = (self.size / 16).clamp(1, 256).min(self.size - 2);
        let usable = self.size - 1 - lower;
        let upper = (0..usable).map(|step| lower + (random % usable + step) % usable);
        let free = upper.chain(1..lower).map(|offset| Ipv4Addr::from(self.network + offset));
        let ip = free.into_iter().find(|ip| !self.taken_ips.contains_key(ip)).ok_or(Refused::Full)?;
        self.taken_ips.insert(ip, owner.to_owned());
        Ok(ip)
    }

    pub(super) fn take_port(&mut self, port: u16, protocol: &str, owner: &str) -> Result<(), Refused> {
        if !self.ports.contains(&port) {
            return Err(Refused::OutOfRange);
        }
        let key = (port, protocol.to_owned());
        match self.taken_ports.get(&key) {
            Some(holder) if holder != owner => Err(Refused::Taken),
            _ => {
                self.taken_ports.insert(key, owner.to_owned());
                Ok(())
            }
        }
    }

    pub(super) fn any_port(&mut self, protocol: &str, owner: &str, random: u32) -> Result<u16, Refused> {
        let (first, count) = (u32::from(*self.ports.start()), self.ports.len());
        let count = u32::try_from(count).unwrap_or(1).max(1);
        let port = (0..count)
            .map(|step| first + (random % count + step) % count)
            .filter_map(|port| u16::try_from(port).ok())
            .find(|port| !self.taken_ports.contains_key(&(*port, protocol.to_owned())))
            .ok_or(Refused::Full)?;
        self.taken_ports.insert((port, protocol.to_owned()), owner.to_owned());
        Ok(port)
    }

    pub(super) fn free_ip(&mut self, ip: Ipv4Addr, owner: &str) {
        if self.taken_ips.get(&ip).is_some_and(|holder| holder == owner) {
            self.taken_ips.remove(&ip);
        }
    }

    pub(super) fn free_port(&mut self, port: u16, protocol: &str, owner: &str) {
        let key = (port, protocol.to_owned());
        if self.taken_ports.get(&key).is_some_and(|holder| holder == owner) {
            self.taken_ports.remove(&key);
        }
    }

    /// The range as messages name it.
    pub(super) fn cidr(&self) -> String {
        format!("{}/{}", Ipv4Addr::from(self.network), 32 - self.size.trailing_zeros())
    }

    pub(super) fn port_range(&self) -> String {
        format!("{}-{}", self.ports.start(), self.ports.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_small_range_is_given_once() {
        let mut ranges = Ranges::new(Ipv4Addr::new(10, 0, 0, 0), 28, 30_000..=30_002);
        let mut given: Vec<Ipv4Addr> =
            (0..14).map(|at| ranges.any_ip(&format!("s{at}"), at * 7).unwrap()).collect();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), 14);
        assert_eq!(ranges.any_ip("late", 3), Err(Refused::Full));
        ranges.free_ip(given[3], "other");
        assert_eq!(ranges.any_ip("late", 3), Err(Refused::Full));
        ranges.free_ip(given[3], "s0");
        assert_eq!(ranges.cidr(), "10.0.0.0/28");
    }

    #[test]
    fn ports_outside_and_taken_are_told_apart() {
        let mut ranges = Ranges::new(Ipv4Addr::new(10, 0, 0, 0), 24, 30_000..=30_001);
        assert_eq!(ranges.take_port(80, "TCP", "a"), Err(Refused::OutOfRange));
        assert_eq!(ranges.take_port(30_000, "TCP", "a"), Ok(()));
        assert_eq!(ranges.take_port(30_000, "TCP", "b"), Err(Refused::Taken));
        assert_eq!(ranges.take_port(30_000, "UDP", "b"), Ok(()));
        assert_eq!(ranges.any_port("TCP", "c", 0), Ok(30_001));
        assert_eq!(ranges.any_port("TCP", "d", 0), Err(Refused::Full));
    }
}
