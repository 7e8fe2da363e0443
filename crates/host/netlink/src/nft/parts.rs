//! Which parts of nftables the kernel has: kernels build them one by one, or as modules that may not be there.

use super::batch::{Batch, Chain, Hook, HookPoint, HookType};
use super::expression::{Expression, Nat, Reg, Reject, Rule};
use super::read::Nft;
use crate::conntrack::Conntrack;
use std::net::Ipv4Addr;

/// A part of nftables that the rules of this program need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Tables at all.
    Core,
    /// Tables that see IPv4 and IPv6.
    Inet,
    /// The list of connections.
    Connections,
    /// Matching on connections.
    Ct,
    /// Translation of addresses.
    Nat,
    /// Translation to the address of the link.
    Masquerade,
    /// Translation to the host itself.
    Redirect,
    /// Matching on the host's own addresses.
    Fib,
    /// Random numbers.
    Numgen,
    /// Refusing packets with an answer.
    Reject,
}

impl Part {
    /// All of them, those that others rest on first.
    pub const ALL: [Self; 10] = [
        Self::Core,
        Self::Inet,
        Self::Connections,
        Self::Ct,
        Self::Nat,
        Self::Masquerade,
        Self::Redirect,
        Self::Fib,
        Self::Numgen,
        Self::Reject,
    ];

    /// The module that has it.
    #[must_use]
    pub fn module(self) -> &'static str {
        match self {
            Self::Core | Self::Inet => "nf_tables",
            Self::Connections => "nf_conntrack_netlink",
            Self::Ct => "nft_ct",
            Self::Nat => "nft_chain_nat",
            Self::Masquerade => "nft_masq",
            Self::Redirect => "nft_redir",
            Self::Fib => "nft_fib_inet",
            Self::Numgen => "nft_numgen",
            Self::Reject => "nft_reject_inet",
        }
    }

    /// The option that builds it.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Self::Core => "CONFIG_NF_TABLES",
            Self::Inet => "CONFIG_NF_TABLES_INET",
            Self::Connections => "CONFIG_NF_CT_NETLINK",
            Self::Ct => "CONFIG_NFT_CT",
            Self::Nat => "CONFIG_NFT_NAT",
            Self::Masquerade => "CONFIG_NFT_MASQ",
            Self::Redirect => "CONFIG_NFT_REDIR",
            Self::Fib => "CONFIG_NFT_FIB_INET",
            Self::Numgen => "CONFIG_NFT_NUMGEN",
            Self::Reject => "CONFIG_NFT_REJECT",
        }
    }

    /// The parts that the kernel lacks, found by making rules in the calling thread's network namespace, where they
    /// stay: it has to be one that is thrown away. Asking for a part makes the kernel load its module.
    #[must_use]
    pub fn missing() -> Vec<Self> {
        missing_of(are_there)
    }
}

/// All at once, as that is quick, and one by one only to tell which. Nothing else can be there without the first two,
/// so that they are named alone.
fn missing_of(are_there: impl Fn(&[Part]) -> bool) -> Vec<Part> {
    if are_there(&Part::ALL) {
        return Vec::new();
    }
    let missing: Vec<Part> = Part::ALL.into_iter().filter(|part| !are_there(&[*part])).collect();
    let root = missing.iter().copied().find(|part| matches!(part, Part::Core | Part::Inet));
    root.map_or(missing, |root| vec![root])
}

fn are_there(parts: &[Part]) -> bool {
    let mut batch = Batch::new("hako-features");
    for part in parts {
        add_sample(&mut batch, *part);
    }
    let has_tables = || {
        let mut nft = Nft::open()?;
        nft.generation()?;
        nft.commit(batch)
    };
    let has_connections = || Conntrack::open()?.list();
    (parts == [Part::Connections] || has_tables().is_ok())
        && (!parts.contains(&Part::Connections) || has_connections().is_ok())
}

/// Adds a chain with a rule that needs the part.
fn add_sample(batch: &mut Batch, part: Part) {
    let hook = |kind, point, priority| Some(Hook { kind, point, priority });
    let rule = Rule::new();
    let (hook, rule) = match part {
        Part::Core | Part::Connections => return,
        Part::Inet => (None, rule),
        Part::Ct => (None, rule.is_translated()),
        Part::Fib => (None, rule.to_host()),
        Part::Numgen => (None, rule.then(Expression::Random { modulus: 2, to: Reg(0) })),
        Part::Reject => (hook(HookType::Filter, HookPoint::Forward, 0), rule.reject(Reject::PortUnreachable)),
        Part::Nat => {
            let to = Expression::Nat { which: Nat::Destination, address: Reg(0), port: None };
            let rule = rule.ipv4().load_ip(Ipv4Addr::LOCALHOST, Reg(0)).then(to);
            (hook(HookType::Nat, HookPoint::Prerouting, -100), rule)
        }
        Part::Redirect => {
            let port = Expression::Load { value: vec![0, 1], to: Reg(0) };
            let rule = rule.then(port).then(Expression::Redirect { port: Reg(0) });
            (hook(HookType::Nat, HookPoint::Prerouting, -100), rule)
        }
        Part::Masquerade => {
            (hook(HookType::Nat, HookPoint::Postrouting, 100), rule.then(Expression::Masquerade))
        }
    };
    let name = part.module();
    batch.add_table().add_chain(&Chain { name, hook }).add_rule(name, &rule);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_part_is_found_and_a_missing_root_hides_what_rests_on_it() {
        let fake =
            |absent: &'static [Part]| missing_of(|parts| !parts.iter().any(|part| absent.contains(part)));
        assert_eq!(fake(&[]), []);
        assert_eq!(fake(&[Part::Fib, Part::Nat]), [Part::Nat, Part::Fib]);
        assert_eq!(fake(&[Part::Connections]), [Part::Connections]);
        assert_eq!(fake(&[Part::Core, Part::Inet, Part::Ct]), [Part::Core]);
        assert_eq!(fake(&[Part::Inet, Part::Ct]), [Part::Inet]);
    }
}
