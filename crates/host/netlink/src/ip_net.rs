//! A network of either address family in CIDR notation.

use crate::Ipv4Net;
use hako_error::{Classify, Kind};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network of either address family; bits beyond the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpNet {
    base: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a network, expected ADDRESS/PREFIX such as 172.20.0.0/16 or fd00:1::/64")]
pub struct ParseIpNetError(String);

impl Classify for ParseIpNetError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl IpNet {
    /// The network of `prefix` bits that contains `address`; a prefix that is too long counts as the longest.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(width(address));
        let host = host_mask(width(address), prefix);
        Self { base: with_bits(address, bits(address) & !host), prefix }
    }

    /// The lowest address, which names the network.
    #[must_use]
    pub fn base(self) -> IpAddr {
        self.base
    }

    /// The number of leading bits that all its addresses share.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether its addresses are of IPv6.
    #[must_use]
    pub fn is_ipv6(self) -> bool {
        self.base.is_ipv6()
    }

    /// The highest address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        with_bits(self.base, bits(self.base) | host_mask(width(self.base), self.prefix))
    }

    /// The address `offset` above the base, if it lies inside.
    #[must_use]
    pub fn nth(self, offset: u128) -> Option<IpAddr> {
        let is_inside = offset <= host_mask(width(self.base), self.prefix);
        is_inside.then(|| with_bits(self.base, bits(self.base) | offset))
    }

    /// Whether `address` lies inside.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_ipv6() && Self::new(address, self.prefix).base == self.base
    }

    /// Whether both have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The bits that may differ between the addresses of a network.
fn host_mask(width: u8, prefix: u8) -> u128 {
    let bits = u32::from(width - prefix);
    u128::MAX.checked_shr(128 - bits).unwrap_or(0)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// An address of the family of `like`.
fn with_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from(bits).into(),
    }
}

impl From<Ipv4Net> for IpNet {
    fn from(net: Ipv4Net) -> Self {
        Self::new(net.base().into(), net.prefix())
    }
}

impl FromStr for IpNet {
    type Err = ParseIpNetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseIpNetError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(refuse)?;
        let address: IpAddr = address.parse().map_err(|_| refuse())?;
        let prefix: u8 = prefix.parse().map_err(|_| refuse())?;
        let net = Self::new(address, prefix);
        if prefix != net.prefix || net.base != address {
            return Err(refuse());
        }
        Ok(net)
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn text_round_trips_and_host_bits_are_refused() {
        for text in ["172.20.0.0/16", "0.0.0.0/0", "192.0.2.1/32", "fd00:1::/64", "::/0", "fd00::1/128"] {
            assert_eq!(net(text).to_string(), text);
        }
        for text in ["172.20.0.1/16", "10.0.0.0/33", "fd00::1/64", "fd00::/129", "x/8", "10.0.0.0"] {
            assert!(text.parse::<IpNet>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_counted_from_the_base_to_the_last() {
        assert_eq!(net("10.0.0.0/30").nth(3), Some("10.0.0.3".parse().unwrap()));
        assert_eq!(net("10.0.0.0/30").nth(4), None);
        assert_eq!(net("fd00::/64").nth(2), Some("fd00::2".parse().unwrap()));
        assert_eq!(net("10.0.0.0/30").last(), "10.0.0.3".parse::<IpAddr>().unwrap());
        assert_eq!(net("192.0.2.1/32").last(), net("192.0.2.1/32").base());
        assert_eq!(net("::/0").nth(u128::MAX), Some(net("::/0").last()));
    }

    #[test]
    fn networks_of_two_families_never_overlap() {
        assert!(
            net("10.0.0.0/8").overlaps(net("10.1.0.0/16")) && net("10.1.0.0/16").overlaps(net("10.0.0.0/8"))
        );
        assert!(!net("0.0.0.0/0").overlaps(net("::/0")));
        assert!(!net("fd00::/64").contains("fd00:0:0:1::1".parse().unwrap()));
    }
}
