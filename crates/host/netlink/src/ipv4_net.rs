//! An IPv4 network in CIDR notation.

use hako_error::{Classify, Kind};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 network; bits beyond the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Net {
    base: Ipv4Addr,
    prefix: u8,
}

/// Why a text is no IPv4 network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an IPv4 network, expected ADDRESS/PREFIX such as 10.244.0.0/24")]
pub struct ParseIpv4NetError(String);

impl Classify for ParseIpv4NetError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl Ipv4Net {
    /// The network of `prefix` bits that contains `address`; a prefix above 32 counts as 32.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        let base = Ipv4Addr::from(u32::from(address) & mask(prefix));
        Self { base, prefix }
    }

    /// The lowest address, which names the network.
    #[must_use]
    pub fn base(self) -> Ipv4Addr {
        self.base
    }

    /// The number of leading bits that all its addresses share.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The mask of those bits.
    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(mask(self.prefix))
    }

    /// The highest address.
    #[must_use]
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) | !mask(self.prefix))
    }

    /// The address `offset` above the base, if it lies inside.
    #[must_use]
    pub fn nth(self, offset: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from(u32::from(self.base).checked_add(offset)?);
        self.contains(address).then_some(address)
    }

    /// How many addresses it has.
    #[must_use]
    pub fn len(self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    /// Never: a network has at least one address.
    #[must_use]
    pub fn is_empty(self) -> bool {
        false
    }

    /// Whether `address` lies inside.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == u32::from(self.base)
    }

    /// Whether both have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Ipv4Net {
    type Err = ParseIpv4NetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseIpv4NetError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(refuse)?;
        let address: Ipv4Addr = address.parse().map_err(|_| refuse())?;
        let prefix: u8 = prefix.parse().map_err(|_| refuse())?;
        let net = Self::new(address, prefix);
        if prefix > 32 || net.base != address {
            return Err(refuse());
        }
        Ok(net)
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn text_round_trips_and_host_bits_are_refused() {
        for text in ["10.244.0.0/24", "0.0.0.0/0", "192.0.2.1/32"] {
            assert_eq!(net(text).to_string(), text);
        }
        for text in ["10.244.0.1/24", "10.0.0.0/33", "10.0.0.0", "x/8"] {
            assert!(text.parse::<Ipv4Net>().is_err(), "{text}");
        }
    }

    #[test]
    fn overlap_is_symmetric() {
        let (wide, narrow, other) = (net("10.0.0.0/8"), net("10.1.0.0/16"), net("11.0.0.0/8"));
        assert!(wide.overlaps(narrow) && narrow.overlaps(wide));
        assert!(!wide.overlaps(other) && !other.overlaps(narrow));
    }

    #[test]
    fn addresses_are_counted_from_the_base() {
        assert_eq!(net("10.0.0.0/30").nth(3), Some(Ipv4Addr::new(10, 0, 0, 3)));
        assert_eq!(net("10.0.0.0/30").nth(4), None);
        assert_eq!(net("0.0.0.0/0").len(), 1 << 32);
    }
}
