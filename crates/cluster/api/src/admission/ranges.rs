//! Which addresses and node ports are taken. Pure; the random part comes from the caller.

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A range of addresses that services get theirs from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    network: u32,
    size: u32,
}

impl Cidr {
    pub(super) fn new(network: Ipv4Addr, prefix: u8) -> Self {
        let bits = 32 - u32::from(prefix.min(30));
        let size = 1_u32.checked_shl(bits).unwrap_or(u32::MAX);
        Self { network: u32::from(network) & !(size - 1), size }
    }

    fn contains(&self, ip: Ipv4Addr) -> bool {
        u32::from(ip).wrapping_sub(self.network) < self.size
    }

    /// Neither the first address nor the last one is anybody's.
    fn has(&self, ip: Ipv4Addr) -> bool {
        let offset = u32::from(ip).wrapping_sub(self.network);
        offset != 0 && offset < self.size - 1
    }

    /// Addresses, those of the upper part first: the lower is for those who choose.
    fn addresses(self, random: u32) -> impl Iterator<Item = Ipv4Addr> {
        let lower = (self.size / 16).clamp(1, 256).min(self.size - 2);
        let usable = self.size - 1 - lower;
        let upper = (0..usable).map(move |step| lower + (random % usable + step) % usable);
        upper.chain(1..lower).map(move |offset| Ipv4Addr::from(self.network + offset))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), 32 - self.size.trailing_zeros())
    }
}

/// Free and taken addresses and ports, by the service that holds them.
#[derive(Debug)]
pub(super) struct Ranges {
    cidrs: Arc<[Cidr]>,
    ports: RangeInclusive<u16>,
    taken_ips: HashMap<Ipv4Addr, String>,
    taken_ports: HashMap<(u16, String), String>,
}

/// Why an address or port cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Taken,
    /// The address is the first or the last one of a range.
    Edge(Cidr),
    OutOfRange,
    Full,
}

impl Ranges {
    pub(super) fn new(cidrs: Arc<[Cidr]>, ports: RangeInclusive<u16>) -> Self {
        Self { cidrs, ports, taken_ips: HashMap::new(), taken_ports: HashMap::new() }
    }

    /// From which ranges addresses are given from now on. What is taken stays so.
    pub(super) fn set_cidrs(&mut self, cidrs: &Arc<[Cidr]>) {
        self.cidrs = Arc::clone(cidrs);
    }

    /// Takes an address of a range for an owner; one it holds already is fine.
    pub(super) fn take_ip(&mut self, ip: Ipv4Addr, owner: &str) -> Result<(), Refused> {
        if !self.cidrs.iter().any(|cidr| cidr.has(ip)) {
            let edge = self.cidrs.iter().find(|cidr| cidr.contains(ip));
            return Err(edge.map_or(Refused::OutOfRange, |cidr| Refused::Edge(*cidr)));
        }
        self.hold_ip(ip, owner)
    }

    /// The same of an address that is held already, in whatever range it is.
    pub(super) fn hold_ip(&mut self, ip: Ipv4Addr, owner: &str) -> Result<(), Refused> {
        match self.taken_ips.get(&ip) {
            Some(holder) if holder != owner => Err(Refused::Taken),
            _ => {
                self.taken_ips.insert(ip, owner.to_owned());
                Ok(())
            }
        }
    }

    /// Takes any address of the first range that has one left.
    pub(super) fn any_ip(&mut self, owner: &str, random: u32) -> Result<Ipv4Addr, Refused> {
        let mut all = self.cidrs.iter().flat_map(|cidr| cidr.addresses(random));
        let ip = all.find(|ip| !self.taken_ips.contains_key(ip)).ok_or(Refused::Full)?;
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

    pub(super) fn port_range(&self) -> String {
        format!("{}-{}", self.ports.start(), self.ports.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(cidrs: &[([u8; 4], u8)]) -> Ranges {
        let cidrs = cidrs.iter().map(|(network, bits)| Cidr::new((*network).into(), *bits)).collect();
        Ranges::new(cidrs, 30_000..=30_001)
    }

    #[test]
    fn a_full_range_is_followed_by_the_next_and_one_that_is_gone_gives_nothing() {
        let mut ranges = ranges(&[([10, 0, 0, 0], 30), ([10, 0, 1, 0], 30)]);
        let mut given: Vec<String> =
            (0..4).map(|at| ranges.any_ip(&format!("s{at}"), at).unwrap().to_string()).collect();
        given.sort_unstable();
        assert_eq!(given, ["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.0.1.2"]);
        ranges.free_ip([10, 0, 1, 1].into(), "s2");
        ranges.free_ip([10, 0, 1, 1].into(), "s3");
        let first = Cidr::new([10, 0, 0, 0].into(), 30);
        ranges.set_cidrs(&[first].into());
        assert_eq!(ranges.any_ip("late", 0), Err(Refused::Full));
        assert_eq!(ranges.take_ip([10, 0, 1, 1].into(), "late"), Err(Refused::OutOfRange));
        assert_eq!(ranges.take_ip([10, 0, 0, 3].into(), "late"), Err(Refused::Edge(first)));
        assert_eq!(ranges.hold_ip([10, 0, 1, 1].into(), "old"), Ok(()));
    }

    #[test]
    fn every_address_of_a_small_range_is_given_once() {
        let mut ranges = ranges(&[([10, 0, 0, 0], 28)]);
        let mut given: Vec<Ipv4Addr> =
            (0..14).map(|at| ranges.any_ip(&format!("s{at}"), at * 7).unwrap()).collect();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), 14);
        assert_eq!(ranges.any_ip("late", 3), Err(Refused::Full));
        ranges.free_ip(given[3], "other");
        assert_eq!(ranges.any_ip("late", 3), Err(Refused::Full));
        ranges.free_ip(given[3], "s0");
        assert_eq!(Cidr::new([10, 0, 0, 9].into(), 28).to_string(), "10.0.0.0/28");
    }

    #[test]
    fn ports_outside_and_taken_are_told_apart() {
        let mut ranges = ranges(&[([10, 0, 0, 0], 24)]);
        assert_eq!(ranges.take_port(80, "TCP", "a"), Err(Refused::OutOfRange));
        assert_eq!(ranges.take_port(30_000, "TCP", "a"), Ok(()));
        assert_eq!(ranges.take_port(30_000, "TCP", "b"), Err(Refused::Taken));
        assert_eq!(ranges.take_port(30_000, "UDP", "b"), Ok(()));
        assert_eq!(ranges.any_port("TCP", "c", 0), Ok(30_001));
        assert_eq!(ranges.any_port("TCP", "d", 0), Err(Refused::Full));
    }
}
