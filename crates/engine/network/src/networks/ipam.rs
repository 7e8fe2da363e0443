//! Which subnet a network gets, and which address a sandbox.

use super::spec::Ipam;
use crate::error::{NetworkError, Result};
use hako_netlink::IpNet;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The pools that subnets are taken from when nobody says otherwise, with their subnets' prefix: Docker's.
#[must_use]
pub fn default_pools() -> Vec<(IpNet, u8)> {
    let wide = |octet| (IpNet::new(Ipv4Addr::new(172, octet, 0, 0).into(), 16), 16);
    let mut pools: Vec<(IpNet, u8)> = (17..=31).map(wide).collect();
    pools.push((IpNet::new(Ipv4Addr::new(192, 168, 0, 0).into(), 16), 20));
    pools
}

/// The first subnet of the pools that overlaps nothing that is taken.
pub(super) fn choose_v4(pools: &[(IpNet, u8)], taken: &[IpNet]) -> Result<IpNet> {
    let is_free = |net: &IpNet| !taken.iter().any(|other| other.overlaps(*net));
    let v4 = pools.iter().filter(|(pool, _)| !pool.is_ipv6());
    v4.flat_map(|(pool, size)| subnets(*pool, *size)).find(is_free).ok_or(NetworkError::NoFreePool)
}

fn subnets(pool: IpNet, size: u8) -> impl Iterator<Item = IpNet> {
    let size = size.clamp(pool.prefix(), 32);
    let count = 1_u128 << (size - pool.prefix()).min(16);
    (0..count).filter_map(move |n| Some(IpNet::new(pool.nth(n << (32 - size))?, size)))
}

/// A subnet of IPv6 that is unique in all likelihood (RFC 4193).
pub(super) fn choose_v6(random: [u8; 5]) -> IpNet {
    let [a, b, c, d, e] = random;
    let join = |high, low| u16::from_be_bytes([high, low]);
    IpNet::new(Ipv6Addr::new(join(0xfd, a), join(b, c), join(d, e), 0, 0, 0, 0, 0).into(), 64)
}

/// The gateway that a subnet has unless it is told another.
pub(super) fn first(subnet: IpNet) -> Option<IpAddr> {
    subnet.nth(1)
}

/// Checks what a caller chose.
pub(super) fn check(ipam: &Ipam) -> Result<()> {
    let subnet = ipam.subnet;
    let longest = if subnet.is_ipv6() { 126 } else { 30 };
    if subnet.prefix() > longest {
        return Err(NetworkError::PoolTooSmall { subnet });
    }
    let gateway = ipam.gateway.iter().map(|ip| (format!("gateway {ip}"), ip));
    let aux = ipam.aux.iter().map(|(name, ip)| (format!("auxiliary address {name}"), ip));
    if let Some((what, _)) = gateway.chain(aux).find(|(_, ip)| !subnet.contains(**ip)) {
        return Err(NetworkError::BadAddress { what, subnet });
    }
    let Some(range) = ipam.range else { return Ok(()) };
    let why = match () {
        () if range.prefix() < subnet.prefix() => {
            format!("CIDR block is bigger than its parent subnet {subnet}")
        }
        () if !subnet.contains(range.base()) => format!("parent subnet {subnet} doesn't contain ip-range"),
        () => return Ok(()),
    };
    Err(NetworkError::BadRange { range, why })
}

/// The lowest free address, or the one asked for if it is free.
pub(super) fn allocate(ipam: &Ipam, asked: Option<IpAddr>, used: &HashSet<IpAddr>) -> Result<IpAddr> {
    let subnet = ipam.subnet;
    if let Some(ip) = asked {
        return match () {
            () if !subnet.contains(ip) => Err(NetworkError::NotInSubnet { ip }),
            () if !is_free(ipam, ip, used) => Err(NetworkError::AddressInUse { ip }),
            () => Ok(ip),
        };
    }
    let pool = ipam.range.unwrap_or(subnet);
    // At most so many are not free: base, last, gateway, and those that are taken.
    let enough = used.len() + ipam.aux.len() + 3;
    (0..=enough as u128)
        .map_while(|offset| pool.nth(offset))
        .find(|ip| is_free(ipam, *ip, used))
        .ok_or(NetworkError::PoolEmpty { subnet: pool })
}

fn is_free(ipam: &Ipam, ip: IpAddr, used: &HashSet<IpAddr>) -> bool {
    let is_reserved = ip == ipam.subnet.base() || (ip.is_ipv4() && ip == ipam.subnet.last());
    !is_reserved
        && ipam.gateway != Some(ip)
        && !ipam.aux.values().any(|aux| *aux == ip)
        && !used.contains(&ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ipam(subnet: &str) -> Ipam {
        let subnet = net(subnet);
        Ipam { subnet, gateway: first(subnet), range: None, aux: BTreeMap::new(), chosen: true }
    }

    #[test]
    fn subnets_come_from_the_pools_in_order_and_overlap_nothing() {
        let pools = default_pools();
        assert_eq!(choose_v4(&pools, &[]).unwrap(), net("172.17.0.0/16"));
        let taken = [net("172.16.0.0/12"), net("192.168.0.0/24")];
        assert_eq!(choose_v4(&pools, &taken).unwrap(), net("192.168.16.0/20"));
        assert!(matches!(
            choose_v4(&pools, &[net("0.0.0.0/1"), net("128.0.0.0/1")]),
            Err(NetworkError::NoFreePool)
        ));
        assert!(net("fd00::/8").overlaps(choose_v6([1, 2, 3, 4, 5])));
    }

    #[test]
    fn the_lowest_free_address_is_given_out_until_none_is_left() {
        let mut ipam = ipam("10.9.0.0/29");
        ipam.aux.insert("printer".into(), ip("10.9.0.3"));
        let mut used = HashSet::new();
        let mut got = Vec::new();
        while let Ok(next) = allocate(&ipam, None, &used) {
            used.insert(next);
            got.push(next.to_string());
        }
        assert_eq!(got, ["10.9.0.2", "10.9.0.4", "10.9.0.5", "10.9.0.6"]);
        used.remove(&ip("10.9.0.4"));
        assert_eq!(allocate(&ipam, None, &used).unwrap(), ip("10.9.0.4"));
    }

    #[test]
    fn a_range_bounds_what_is_given_out_but_not_what_is_asked_for() {
        let ipam = Ipam { range: Some(net("10.9.1.0/31")), ..ipam("10.9.0.0/16") };
        let mut used = HashSet::from([ip("10.9.1.0")]);
        assert_eq!(allocate(&ipam, None, &used).unwrap(), ip("10.9.1.1"));
        used.insert(ip("10.9.1.1"));
        assert!(matches!(allocate(&ipam, None, &used), Err(NetworkError::PoolEmpty { .. })));
        assert_eq!(allocate(&ipam, Some(ip("10.9.7.7")), &used).unwrap(), ip("10.9.7.7"));
    }

    #[test]
    fn addresses_that_are_taken_reserved_or_elsewhere_cannot_be_asked_for() {
        let ipam = ipam("10.9.0.0/24");
        let used = HashSet::from([ip("10.9.0.7")]);
        for bad in ["10.9.0.7", "10.9.0.1", "10.9.0.0", "10.9.0.255"] {
            let refused = allocate(&ipam, Some(ip(bad)), &used);
            assert!(matches!(refused, Err(NetworkError::AddressInUse { .. })), "{bad}");
        }
        assert!(matches!(
            allocate(&ipam, Some(ip("10.8.0.2")), &used),
            Err(NetworkError::NotInSubnet { .. })
        ));
    }

    #[test]
    fn a_choice_that_fits_nowhere_is_refused() {
        let bad = [
            Ipam { gateway: Some(ip("10.8.0.1")), ..ipam("10.9.0.0/24") },
            Ipam { range: Some(net("10.8.0.0/25")), ..ipam("10.9.0.0/24") },
            Ipam { range: Some(net("10.9.0.0/16")), ..ipam("10.9.0.0/24") },
            ipam("10.9.0.0/31"),
        ];
        assert!(bad.iter().all(|ipam| check(ipam).is_err()));
        assert!(check(&ipam("fd00::/64")).is_ok());
    }
}
