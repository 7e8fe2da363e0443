//! How the table in the kernel is laid out.
//!
//! A packet's way: `services` or `node-ports` leads to the chain of a service port; that draws an index below the
//! number of targets, finds the target in `endpoints`, and translates. All targets of all services are in the one map
//! `endpoints`, so an update touches the entries that differ and, when the number changes, one chain.
//!
//! While a transaction is committed on one processor, another may be between drawing an index by the old chain and
//! looking it up among the new entries. That can only miss by an index beyond the new number, so each chain tries
//! index 0 next, which exists as long as there is any target. Without that, a connection would now and then be refused
//! though targets are there.

use hako_netlink::Ipv4Net;
use hako_netlink::nft::{
    Batch, Chain, Comparison, Expression, Hook, HookPoint, HookType, Map, Nat, Reg, Reject, Rule, Set,
    Verdict, datatype as kind,
};
use std::net::Ipv4Addr;
use std::time::Duration;

/// The sets and maps, by name in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Table {
    /// (address . protocol . port) → chain.
    Services,
    /// (protocol . port) → chain, on every address of the host.
    NodePorts,
    /// (protocol . port): node ports of services without targets.
    Unserved,
    /// (backend . index) → (address . port).
    Endpoints,
    /// (address . address): may reach itself.
    Hairpin,
}

/// Set by rules: (client . backend . address . port). Not a map: nft 1.0.6 aborts when it lists a rule in which what a
/// map gave is part of a key or is stored, for it counts that as zero bits long.
const AFFINITY: &str = "affinity";
const AFFINITY_SIZE: u32 = 65_536;
const AFFINITY_DEFAULT: Duration = Duration::from_secs(10_800);

const TCP: u8 = 6;
const REJECT: &str = "reject";
/// Base chains, which exist whatever services there are.
const BASE: [&str; 7] = [REJECT, "prerouting", "output", "postrouting", "input", "forward", "filter-output"];

impl Table {
    pub(crate) const ALL: [Self; 5] =
        [Self::Services, Self::NodePorts, Self::Unserved, Self::Endpoints, Self::Hairpin];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::NodePorts => "node-ports",
            Self::Unserved => "unserved",
            Self::Endpoints => "endpoints",
            Self::Hairpin => "hairpin",
        }
    }

    fn set(self) -> Set<'static> {
        let verdict = Some(Map { datatype: kind::VERDICT, len: 0 });
        let (key, map): (&[u32], _) = match self {
            Self::Services => (&[kind::IPV4_ADDR, kind::INET_PROTO, kind::INET_SERVICE], verdict),
            Self::NodePorts => (&[kind::INET_PROTO, kind::INET_SERVICE], verdict),
            Self::Unserved => (&[kind::INET_PROTO, kind::INET_SERVICE], None),
            Self::Endpoints => (&[kind::MARK, kind::MARK], Some(TARGET)),
            Self::Hairpin => (&[kind::IPV4_ADDR, kind::IPV4_ADDR], None),
        };
        let key_len = u32::try_from(key.len() * 4).unwrap_or(0);
        Set { name: self.name(), key_type: kind::concat(key), key_len, map, timeout: None, size: None }
    }
}

const TARGET: Map = Map { datatype: kind::concat(&[kind::IPV4_ADDR, kind::INET_SERVICE]), len: 8 };

pub(crate) fn is_base(chain: &str) -> bool {
    BASE.contains(&chain)
}

/// The table, its sets and base chains; what exists already stays, rules of base chains are written anew.
pub(crate) fn install(batch: &mut Batch, services: Ipv4Net) {
    batch.add_table();
    for table in Table::ALL {
        batch.add_set(&table.set());
    }
    batch.add_set(&Set {
        name: AFFINITY,
        key_type: kind::concat(&[kind::IPV4_ADDR, kind::MARK, kind::IPV4_ADDR, kind::INET_SERVICE]),
        key_len: 16,
        map: None,
        timeout: Some(AFFINITY_DEFAULT),
        size: Some(AFFINITY_SIZE),
    });
    let filter = |point| Some(Hook { kind: HookType::Filter, point, priority: 0 });
    let nat = |point, priority| Some(Hook { kind: HookType::Nat, point, priority });
    let to_services = || Rule::new().ipv4().destination(Comparison::Eq, services).verdict(goto(REJECT));
    write_chain(
        batch,
        REJECT,
        None,
        &[Rule::new().transport(TCP).reject(Reject::TcpReset), Rule::new().reject(Reject::PortUnreachable)],
    );
    write_chain(batch, "prerouting", nat(HookPoint::Prerouting, -100), &dispatch());
    write_chain(batch, "output", nat(HookPoint::Output, -100), &dispatch());
    write_chain(batch, "postrouting", nat(HookPoint::Postrouting, 100), &masquerade());
    write_chain(batch, "input", filter(HookPoint::Input), &[unserved(), to_services()]);
    write_chain(batch, "forward", filter(HookPoint::Forward), &[to_services()]);
    write_chain(batch, "filter-output", filter(HookPoint::Output), &[to_services()]);
}

pub(crate) fn write_chain(batch: &mut Batch, name: &str, hook: Option<Hook>, rules: &[Rule]) {
    batch.add_chain(&Chain { name, hook }).flush_chain(name);
    for rule in rules {
        batch.add_rule(name, rule);
    }
}

pub(crate) fn goto(chain: &str) -> Verdict {
    Verdict::Goto(chain.to_owned())
}

fn dispatch() -> [Rule; 2] {
    let look_up = |rule: Rule, table: Table, key| {
        rule.then(Expression::LookupVerdict { map: table.name().to_owned(), key })
    };
    let keyed = |rule: Rule| rule.load_destination(Reg(0)).load_transport(Reg(1)).load_port(Reg(2));
    [
        look_up(keyed(Rule::new().ipv4()), Table::Services, Reg(0)),
        look_up(keyed(Rule::new().ipv4().to_host()), Table::NodePorts, Reg(1)),
    ]
}

/// What came from a loopback address could not be answered, and what a pod sent to itself would be answered past us.
fn masquerade() -> [Rule; 2] {
    let loopback = Ipv4Net::new(Ipv4Addr::LOCALHOST, 8);
    let translated = || Rule::new().ipv4().is_translated();
    [
        translated()
            .source(Comparison::Eq, loopback)
            .destination(Comparison::Ne, loopback)
            .then(Expression::Masquerade),
        translated()
            .load_source(Reg(0))
            .load_destination(Reg(1))
            .then(Expression::Contains {
                set: Table::Hairpin.name().to_owned(),
                key: Reg(0),
                inverted: false,
            })
            .then(Expression::Masquerade),
    ]
}

fn unserved() -> Rule {
    Rule::new()
        .ipv4()
        .load_transport(Reg(0))
        .load_port(Reg(1))
        .then(Expression::Contains { set: Table::Unserved.name().to_owned(), key: Reg(0), inverted: false })
        .verdict(goto(REJECT))
}

/// The rules of a chain that sends to one of `count` targets of `backend`.
pub(crate) fn balance(backend: u32, count: u32) -> Vec<Rule> {
    let target = |rule: Rule| {
        let map = Table::Endpoints.name().to_owned();
        let found = rule.then(Expression::Lookup { map, key: Reg(1), to: Reg(4) });
        translate(found, Reg(4))
    };
    let drawn =
        Rule::new().load_u32(backend, Reg(1)).then(Expression::Random { modulus: count.max(1), to: Reg(2) });
    let first = Rule::new().load_u32(backend, Reg(1)).load_u32(0, Reg(2));
    vec![target(drawn), target(first)]
}

/// The rules of a chain that sends each client where it was sent before, if that is still a target, and else to one
/// that is drawn and remembered. What [`balance`] does comes last, for when no more clients can be remembered.
///
/// A target gone is a rule gone; its elements end by their timeout.
pub(crate) fn stick(backend: u32, targets: &[(Ipv4Addr, u16)], timeout: Duration) -> Vec<Rule> {
    let known = targets.iter().map(|target| {
        let rule = load_client(Rule::new(), backend, *target).then(Expression::Contains {
            set: AFFINITY.to_owned(),
            key: Reg(0),
            inverted: false,
        });
        remember(rule, timeout)
    });
    // One of n, else one of the n - 1 that follow, …: each of them is as likely.
    let drawn = targets.iter().zip((1..=targets.len()).rev()).map(|(target, left)| {
        let modulus = u32::try_from(left).unwrap_or(u32::MAX);
        let rule = Rule::new().then(Expression::Random { modulus, to: Reg(8) }).then(Expression::Compare {
            reg: Reg(8),
            how: Comparison::Eq,
            with: 0_u32.to_ne_bytes().to_vec(),
        });
        remember(load_client(rule, backend, *target), timeout)
    });
    let count = u32::try_from(targets.len()).unwrap_or(u32::MAX);
    known.chain(drawn).chain(balance(backend, count)).collect()
}

/// Loads the key of [`AFFINITY`]; the target is in the registers 2 and 3.
fn load_client(rule: Rule, backend: u32, (ip, port): (Ipv4Addr, u16)) -> Rule {
    rule.load_source(Reg(0))
        .load_u32(backend, Reg(1))
        .load_ip(ip, Reg(2))
        .then(Expression::Load { value: port.to_be_bytes().to_vec(), to: Reg(3) })
}

fn remember(rule: Rule, timeout: Duration) -> Rule {
    let remembered =
        rule.then(Expression::Update { set: AFFINITY.to_owned(), key: Reg(0), data: None, timeout });
    translate(remembered, Reg(2))
}

fn translate(rule: Rule, target: Reg) -> Rule {
    rule.then(Expression::Nat { which: Nat::Destination, address: target, port: Some(Reg(target.0 + 1)) })
}

/// Parts of a key or of data, each padded to four bytes.
pub(crate) fn key(parts: &[Part]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.bytes()).collect()
}

/// A part of a key or of data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Ip(Ipv4Addr),
    Protocol(u8),
    Port(u16),
    /// In the machine's byte order, as rules load it.
    Number(u32),
}

impl Part {
    fn bytes(self) -> [u8; 4] {
        match self {
            Self::Ip(ip) => ip.octets(),
            Self::Protocol(protocol) => [protocol, 0, 0, 0],
            Self::Port(port) => {
                let [high, low] = port.to_be_bytes();
                [high, low, 0, 0]
            }
            Self::Number(number) => number.to_ne_bytes(),
        }
    }
}
