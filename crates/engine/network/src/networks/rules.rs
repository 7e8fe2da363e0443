//! The nft table `hako-<instance>-nets`: isolation, translation and published ports of user-defined networks.
//!
//! ```text
//! guard        prerouting, before all: nobody on a bridge addresses, or pretends to be, the host's loopback
//! forward      by the link a packet came by: f-<bridge>; else by the link it leaves by: t-<bridge>
//! prerouting   published ports of the host to (address, port) of a sandbox; output does the same for the host itself
//! postrouting  what leaves a network's bridge goes by the host's address
//! ```
//! A change of networks rewrites the table in one transaction; a change of published ports changes elements only.

use super::spec::{Driver, Member, NetworkSpec, OPTION_ICC, OPTION_MASQUERADE};
use super::table::Table;
use crate::attachment::{Protocol, PublishedPort};
use crate::error::Result;
use crate::rules::{add_chain, loopback, padded_port, port_key};
use hako_netlink::Conntrack;
use hako_netlink::nft::{
    Batch, Chain, Comparison, Element, Expression, Hook, HookPoint, HookType, Map, Nat, Nft, Reg, Rule, Set,
    Verdict, datatype, padded_name,
};
use std::collections::HashSet;
use std::net::IpAddr;

const BRIDGES: &str = "bridges";
const FROM: &str = "from";
const TO: &str = "to";
/// (protocol . port), for ports published on all addresses; the second is IPv6.
const ANYWHERE: [&str; 2] = ["published", "published6"];
/// (address . protocol . port), for ports published on one address.
const SOMEWHERE: [&str; 2] = ["published-on", "published-on6"];

const UDP: u8 = 17;
const INVALID: u32 = 1;
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;

#[derive(Debug)]
pub(super) struct Rules {
    nft: Nft,
    table: String,
    /// The bridge of this instance's pods: what comes from there is let in.
    pods: String,
    conntrack: Conntrack,
}

impl Rules {
    pub(super) fn open(instance: &str) -> Result<Self> {
        let (table, pods) = (format!("hako-{instance}-nets"), format!("hk{instance}"));
        Ok(Self { nft: Nft::open()?, table, pods, conntrack: Conntrack::open()? })
    }

    /// Makes the table say what it should, in one step; what it said before goes on until then. Without networks
    /// there is none.
    pub(super) fn rewrite(&mut self, table: &Table) -> Result<()> {
        let bridges: Vec<&NetworkSpec> = table.nets().filter(|net| net.driver == Driver::Bridge).collect();
        if bridges.is_empty() {
            return self.delete();
        }
        let mut batch = Batch::new(&self.table);
        batch.add_table().delete_table().add_table();
        add_sets(&mut batch);
        let names = bridges.iter().map(|net| Element::key(padded_name(&net.bridge).to_vec()));
        batch.add_elements(BRIDGES, &names.collect::<Vec<_>>());
        for net in &bridges {
            self.add_network(&mut batch, net);
        }
        self.add_base_chains(&mut batch, &bridges);
        for (_, member) in table.members() {
            add_ports(&mut batch, table, member);
        }
        Ok(self.nft.commit(batch)?)
    }

    /// Puts the ports of a sandbox as they are now in place of those that were.
    pub(super) fn republish(&mut self, table: &Table, before: &Member, now: &Member) -> Result<()> {
        if before.ports.is_empty() && now.ports.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new(&self.table);
        for (set, elements) in elements(table, before) {
            batch.delete_elements(set, &elements);
        }
        add_ports(&mut batch, table, now);
        if !batch.is_empty() {
            self.nft.commit(batch)?;
        }
        if let Err(error) = self.forget_datagrams(table, before, now) {
            tracing::warn!(%error, "datagrams may still go where a published port led before");
        }
        Ok(())
    }

    /// Datagrams have no end of connection: what the kernel remembers would go on leading past the rules of now, to a
    /// sandbox that is gone or to nobody.
    fn forget_datagrams(&mut self, table: &Table, before: &Member, now: &Member) -> Result<()> {
        let udp = |member: &Member| -> HashSet<u16> {
            let ports = member.ports.iter().filter(|port| port.protocol == Protocol::Udp);
            ports.map(|port| port.host_port).collect()
        };
        let target = |member: &Member| Some(table.gateway(member)?.v4()?.ip);
        let ports: HashSet<u16> = udp(before).union(&udp(now)).copied().collect();
        if ports.is_empty() || (udp(before) == udp(now) && target(before) == target(now)) {
            return Ok(());
        }
        for connection in self.conntrack.list()? {
            if connection.protocol == UDP && ports.contains(&connection.destination.1) {
                self.conntrack.delete(&connection)?;
            }
        }
        Ok(())
    }

    pub(super) fn delete(&mut self) -> Result<()> {
        match self.nft.delete_table(&self.table) {
            Err(error) if error.is_not_found() => Ok(()),
            other => Ok(other?),
        }
    }

    fn add_network(&self, batch: &mut Batch, net: &NetworkSpec) {
        let (from, to) = (format!("f-{}", net.bridge), format!("t-{}", net.bridge));
        for (map, chain, rules) in [(FROM, from, from_bridge(net)), (TO, to, self.to_bridge(net))] {
            batch.add_chain(&Chain { name: &chain, hook: None });
            for rule in &rules {
                batch.add_rule(&chain, rule);
            }
            let key = padded_name(&net.bridge).to_vec();
            batch.add_elements(map, &[Element::verdict(key, Verdict::Jump(chain))]);
        }
    }

    /// What comes to a bridge from elsewhere: answers, published ports, and pods.
    fn to_bridge(&self, net: &NetworkSpec) -> Vec<Rule> {
        let mut rules = vec![Rule::new().connection_state(ESTABLISHED_OR_RELATED).verdict(Verdict::Accept)];
        if !net.internal {
            rules.push(Rule::new().is_translated().verdict(Verdict::Accept));
            rules.push(Rule::new().input(Comparison::Eq, &self.pods).verdict(Verdict::Accept));
        }
        rules.push(Rule::new().verdict(Verdict::Drop));
        rules
    }

    fn add_base_chains(&self, batch: &mut Batch, bridges: &[&NetworkSpec]) {
        let filter = |point, priority| Hook { kind: HookType::Filter, point, priority };
        let nat = |point, priority| Hook { kind: HookType::Nat, point, priority };
        add_chain(batch, "guard", filter(HookPoint::Prerouting, -300), &guard());
        let forward = [Rule::new().lookup_input(FROM), Rule::new().lookup_output(TO)];
        add_chain(batch, "forward", filter(HookPoint::Forward, 0), &forward);
        add_chain(batch, "prerouting", nat(HookPoint::Prerouting, -100), &published());
        add_chain(batch, "output", nat(HookPoint::Output, -100), &published());
        add_chain(batch, "postrouting", nat(HookPoint::Postrouting, 100), &self.masquerade(bridges));
    }

    fn masquerade(&self, bridges: &[&NetworkSpec]) -> Vec<Rule> {
        let mut rules = vec![
            Rule::new()
                .output_in(BRIDGES)
                .ipv4()
                .source(Comparison::Eq, loopback())
                .then(Expression::Masquerade),
            // Pods see who asks.
            Rule::new().output(Comparison::Eq, &self.pods).verdict(Verdict::Accept),
        ];
        for net in bridges {
            let subnets = || net.ipam.iter().map(|ipam| ipam.subnet);
            // Members that meet by a published port: without this the answer would take the short way and be strange.
            rules.extend(subnets().map(|subnet| {
                let rule =
                    Rule::new().output(Comparison::Eq, &net.bridge).is_translated().from_network(subnet);
                rule.then(Expression::Masquerade)
            }));
            if !net.internal && net.is_on(OPTION_MASQUERADE) {
                rules.extend(subnets().map(|subnet| {
                    let rule = Rule::new().output(Comparison::Ne, &net.bridge).from_network(subnet);
                    rule.then(Expression::Masquerade)
                }));
            }
        }
        rules
    }
}

/// What comes from a bridge: to its own members, out of the machine, and to other networks by published ports only.
fn from_bridge(net: &NetworkSpec) -> Vec<Rule> {
    let mut rules = vec![
        Rule::new().connection_state(INVALID).verdict(Verdict::Drop),
        Rule::new().connection_state(ESTABLISHED_OR_RELATED).verdict(Verdict::Accept),
    ];
    let to_own = Rule::new().output(Comparison::Eq, &net.bridge);
    if net.is_on(OPTION_ICC) {
        rules.push(to_own.verdict(Verdict::Accept));
    } else {
        rules.push(to_own.clone().is_translated().verdict(Verdict::Accept));
        rules.push(to_own.verdict(Verdict::Drop));
    }
    if net.internal {
        rules.push(Rule::new().verdict(Verdict::Drop));
        return rules;
    }
    rules.push(Rule::new().output_in(BRIDGES).is_translated().verdict(Verdict::Accept));
    rules.push(Rule::new().output_in(BRIDGES).verdict(Verdict::Drop));
    rules.push(Rule::new().verdict(Verdict::Accept));
    rules
}

fn add_sets(batch: &mut Batch) {
    let port = [datatype::INET_PROTO, datatype::INET_SERVICE];
    let name =
        Set { name: BRIDGES, key_type: datatype::IFNAME, key_len: 16, map: None, timeout: None, size: None };
    batch.add_set(&name);
    for map in [FROM, TO] {
        batch.add_set(&Set { name: map, map: Some(Map { datatype: datatype::VERDICT, len: 0 }), ..name });
    }
    for (v6, address, len) in [(0, datatype::IPV4_ADDR, 4), (1, datatype::IPV6_ADDR, 16)] {
        let map = Some(Map { datatype: datatype::concat(&[address, datatype::INET_SERVICE]), len: len + 4 });
        let key_type = datatype::concat(&port);
        batch.add_set(&Set { name: ANYWHERE[v6], key_type, key_len: 8, map, ..name });
        let key_type = datatype::concat(&[address, port[0], port[1]]);
        batch.add_set(&Set { name: SOMEWHERE[v6], key_type, key_len: len + 8, map, ..name });
    }
}

fn guard() -> [Rule; 2] {
    let from_bridge = || Rule::new().input_in(BRIDGES).ipv4();
    [
        from_bridge().destination(Comparison::Eq, loopback()).verdict(Verdict::Drop),
        from_bridge().source(Comparison::Eq, loopback()).verdict(Verdict::Drop),
    ]
}

fn published() -> [Rule; 4] {
    let lookup =
        |rule: Rule, map: &str, key| rule.then(Expression::Lookup { map: map.to_owned(), key, to: Reg(8) });
    let v4 = |rule: Rule, map, key| {
        let keyed = rule.load_destination(Reg(0)).load_transport(Reg(1)).load_port(Reg(2));
        let (address, port) = (Reg(8), Some(Reg(9)));
        lookup(keyed, map, key).then(Expression::Nat { which: Nat::Destination, address, port })
    };
    let v6 = |rule: Rule, map, key| {
        let keyed = rule.load_destination_v6(Reg(0)).load_transport(Reg(4)).load_port(Reg(5));
        let (address, port) = (Reg(8), Some(Reg(12)));
        lookup(keyed, map, key).then(Expression::NatV6 { which: Nat::Destination, address, port })
    };
    [
        v4(Rule::new().ipv4(), SOMEWHERE[0], Reg(0)),
        v4(Rule::new().ipv4().to_host(), ANYWHERE[0], Reg(1)),
        v6(Rule::new().ipv6(), SOMEWHERE[1], Reg(0)),
        v6(Rule::new().ipv6().to_host(), ANYWHERE[1], Reg(4)),
    ]
}

fn add_ports(batch: &mut Batch, table: &Table, member: &Member) {
    for (set, elements) in elements(table, member) {
        batch.add_elements(set, &elements);
    }
}

/// The elements that stand for a sandbox's published ports: they lead to its way out.
fn elements(table: &Table, member: &Member) -> Vec<(&'static str, Vec<Element>)> {
    let Some(endpoint) = table.gateway(member) else {
        return Vec::new();
    };
    if table.net(&endpoint.network).is_ok_and(|net| net.driver != Driver::Bridge) {
        return Vec::new();
    }
    let element = |port: &PublishedPort| {
        let v6 = usize::from(port.host_ip.is_ipv6());
        let target = if v6 == 1 { endpoint.v6() } else { endpoint.v4() }?;
        let value = [octets(target.ip), padded_port(port.container_port).to_vec()].concat();
        let (set, key) = match port.host_ip.is_unspecified() {
            true => (ANYWHERE[v6], port_key(port)),
            false => (SOMEWHERE[v6], [octets(port.host_ip), port_key(port)].concat()),
        };
        Some((set, vec![Element::value(key, value)]))
    };
    member.ports.iter().filter_map(element).collect()
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
