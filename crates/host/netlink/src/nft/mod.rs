//! nftables: tables changed by whole transactions, and read back.
//!
//! Owns: encoding of what a [`Batch`] says. Does not own: which table or rule exists and why.
//! Invariant: a batch takes effect as a whole or not at all.

mod batch;
mod expression;
mod parts;
mod read;
mod watch;

pub use batch::{Batch, Chain, Data, Element, Hook, HookPoint, HookType, Map, Set, Verdict};
pub use expression::{Comparison, Ct, Expression, Meta, Nat, Reg, Reject, Rule, padded_name};
pub use parts::Part;
pub use read::{BaseChain, ElementEntry, Nft};
pub use watch::{ChainChange, ChainWatch};

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ipv4 = 2,
    /// IPv6.
    Ipv6 = 10,
}

impl Family {
    /// The name that `nft` takes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
        }
    }
}

/// `NETLINK_NETFILTER`
pub(crate) const NETFILTER: u32 = 12;
pub(crate) const SUBSYSTEM: u16 = 10 << 8;

pub(crate) mod kind {
    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const GET_TABLE: u16 = 1;
    pub(crate) const DEL_TABLE: u16 = 2;
    pub(crate) const NEW_CHAIN: u16 = 3;
    pub(crate) const GET_CHAIN: u16 = 4;
    pub(crate) const DEL_CHAIN: u16 = 5;
    pub(crate) const NEW_RULE: u16 = 6;
    pub(crate) const DEL_RULE: u16 = 8;
    pub(crate) const NEW_SET: u16 = 9;
    pub(crate) const DEL_SET: u16 = 11;
    pub(crate) const NEW_ELEMENT: u16 = 12;
    pub(crate) const GET_ELEMENT: u16 = 13;
    pub(crate) const DEL_ELEMENT: u16 = 14;
}

/// The type numbers that `nft list` shows keys and data by. They combine by six bits for concatenations.
pub mod datatype {
    /// A verdict, as data of a map.
    pub const VERDICT: u32 = 0xffff_ff00;
    /// Some number.
    pub const INTEGER: u32 = 4;
    /// An IPv4 address.
    pub const IPV4_ADDR: u32 = 7;
    /// An IPv6 address.
    pub const IPV6_ADDR: u32 = 8;
    /// A transport protocol.
    pub const INET_PROTO: u32 = 12;
    /// A port.
    pub const INET_SERVICE: u32 = 13;
    /// A packet mark.
    pub const MARK: u32 = 19;
    /// A link's name.
    pub const IFNAME: u32 = 41;

    /// The type of a concatenation.
    #[must_use]
    pub const fn concat(parts: &[u32]) -> u32 {
        let (mut combined, mut at) = (0, 0);
        while at < parts.len() {
            combined = combined << 6 | parts[at];
            at += 1;
        }
        combined
    }
}
