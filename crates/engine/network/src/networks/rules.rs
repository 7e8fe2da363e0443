//! The nft table `hako-<instance>-nets`: isolation, translation and published ports of user-defined networks.
//!
//! ```text
//! guard        prerouting, before all: nobody on a bridge addresses, or pretends to be, the host's loopback
//! forward      by the link a packet came by: f-<bridge>; else by the link it leaves by: t-<bridge>
//! prerouting   published ports of the host to (address, port) of a sandbox; output does the same for the host itself.
//!              With a door, only of what comes from bridges or by the door: see [`super::door`]
//! postrouting  what leaves a network's bridge goes by the host's address
//! ```
//! A change of networks rewrites the table in one transaction; a change of published ports changes elements only.

use super::door::{Door, FAMILIES};
use super::options::{GatewayMode, ICC, MASQUERADE};
use super::shortcut::Way;
use super::spec::{Driver, Endpoint, Member, NetworkSpec};
use super::table::Table;
use super::ways::{Ways, foreign_drops};
use crate::attachment::{Protocol, PublishedPort};
use crate::error::Result;
use crate::rules::{add_chain, loopback, padded_port, port_key};
use hako_netlink::Conntrack;
use hako_netlink::nft::{
    Batch, Chain, Comparison, Element, Expression, Family, Hook, HookPoint, HookType, Map, Nat, Nft, Reg,
    Rule, Set, Verdict, datatype, padded_name,
};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

const BRIDGES: &str = "bridges";
const FROM: &str = "from";
const TO: &str = "to";
/// (protocol . port), for ports published on all addresses; the second is IPv6.
pub(super) const ANYWHERE: [&str; 2] = ["published", "published6"];
/// (address . protocol . port), for ports published on one address.
pub(super) const SOMEWHERE: [&str; 2] = ["published-on", "published-on6"];

/// (address . protocol . port) of members that are reached at their own addresses.
const OPEN: [&str; 2] = ["open", "open6"];
/// Leads to sandboxes what is for published ports.
const LEAD: &str = "lead";

/// Members of routed networks answer who looks for them.
const ICMP: [u8; 2] = [1, 58];
const INVALID: u32 = 1;
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;

#[derive(Debug)]
pub(super) struct Rules {
    nft: Nft,
    table: String,
    /// The bridge of this instance's pods: what comes from there is let in.
    pods: String,
    conntrack: Conntrack,
    /// With it the host's firewall decides on published ports.
    door: Option<Door>,
    /// Past the rules, for connections of the host itself.
    ways: Ways,
}

impl Rules {
    pub(super) fn open(instance: &str, door: Option<Door>) -> Result<Self> {
        let (table, pods) = (format!("hako-{instance}-nets"), format!("hk{instance}"));
        let ways = Ways::open()?;
        Ok(Self { nft: Nft::open()?, table, pods, conntrack: Conntrack::open()?, door, ways })
    }

    /// Chains of others that drop what no rule of theirs lets pass from link to link; ours cannot overrule them.
    pub(super) fn foreign_drops(&mut self) -> Result<Vec<String>> {
        let foreign = foreign_drops(&mut self.nft, HookPoint::Forward)?;
        Ok(foreign.map(|it| format!("{} {} {}", it.family.as_str(), it.table, it.name)).collect())
    }

    /// Makes the table say what it should, in one step; what it said before goes on until then. Without networks
    /// there is none.
    pub(super) fn rewrite(&mut self, table: &Table) -> Result<()> {
        let bridges: Vec<&NetworkSpec> = table.nets().filter(|net| net.driver == Driver::Bridge).collect();
        if bridges.is_empty() {
            return self.delete();
        }
        let mut batch = Batch::new(&self.table);
        if let Some(door) = &self.door {
            door.add_to(&mut batch);
            batch.turn_to(Family::Inet, &self.table);
        }
        batch.clear_table().add_table();
        add_sets(&mut batch);
        let names = bridges.iter().map(|net| Element::key(padded_name(&net.bridge).to_vec()));
        batch.add_elements(BRIDGES, &names.collect::<Vec<_>>());
        for net in &bridges {
            self.add_network(&mut batch, net);
        }
        self.add_base_chains(&mut batch, &bridges);
        for (_, member) in table.members() {
            self.add_ports(&mut batch, table, member);
        }
        self.nft.commit(batch)?;
        self.ways.replace(table.members().flat_map(|(_, member)| ways(table, member)));
        Ok(())
    }

    /// Puts the ports of a sandbox as they are now in place of those that were.
    pub(super) fn republish(&mut self, table: &Table, before: &Member, now: &Member) -> Result<()> {
        if before.ports.is_empty() && now.ports.is_empty() {
            return Ok(());
        }
        let (old, new) = (ways(table, before), ways(table, now));
        let gone: Vec<u16> = old.iter().filter(|way| !new.contains(way)).map(|(port, _)| *port).collect();
        self.ways.forget(&gone);
        let mut batch = Batch::new(&self.table);
        for (place, set, element) in self.places(table, before) {
            batch.turn_to(place.0, place.1).delete_elements(set, &[element]);
        }
        self.add_ports(&mut batch, table, now);
        if !batch.is_empty() {
            self.nft.commit(batch)?;
        }
        self.ways.lead(new);
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
            if connection.protocol == Protocol::Udp.number() && ports.contains(&connection.destination.1) {
                self.conntrack.delete(&connection)?;
            }
        }
        Ok(())
    }

    pub(super) fn delete(&mut self) -> Result<()> {
        self.ways.replace([]);
        if let Some(door) = &self.door {
            let mut batch = Batch::new(&self.table);
            door.remove_from(&mut batch);
            self.nft.commit(batch)?;
        }
        Ok(self.nft.delete_table(&self.table)?)
    }

    fn add_ports(&self, batch: &mut Batch, table: &Table, member: &Member) {
        for (place, set, element) in self.places(table, member) {
            batch.turn_to(place.0, place.1).add_elements(set, &[element]);
        }
    }

    /// The elements that stand for a sandbox's published ports, with their tables: each is in the map that leads to the
    /// sandbox, and in the set of what goes by the door.
    fn places(&self, table: &Table, member: &Member) -> Vec<((Family, &str), &'static str, Element)> {
        let mut places = Vec::new();
        for (v6, set, element) in elements(table, member) {
            if let Some(door) = self.door.as_ref().filter(|_| set != OPEN[v6]) {
                places.push(((FAMILIES[v6], door.table.as_str()), set, Element::key(element.key.clone())));
            }
            places.push(((Family::Inet, self.table.as_str()), set, element));
        }
        places
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
        if !net.is_internal() {
            rules.push(Rule::new().is_translated().verdict(Verdict::Accept));
            rules.push(Rule::new().input(Comparison::Eq, &self.pods).verdict(Verdict::Accept));
            rules.extend([0, 1].into_iter().flat_map(|v6| directly(net, v6)));
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
        batch.add_chain(&Chain { name: LEAD, hook: None });
        for rule in published() {
            batch.add_rule(LEAD, &rule);
        }
        let lead = || Verdict::Jump(LEAD.to_owned());
        let from_outside = match &self.door {
            None => vec![Rule::new().verdict(lead())],
            Some(door) => vec![
                Rule::new().input(Comparison::Eq, &door.far).verdict(lead()),
                Rule::new().input_in(BRIDGES).verdict(lead()),
                Rule::new().input(Comparison::Eq, &self.pods).verdict(lead()),
            ],
        };
        add_chain(batch, "prerouting", nat(HookPoint::Prerouting, -100), &from_outside);
        add_chain(batch, "output", nat(HookPoint::Output, -100), &[Rule::new().verdict(lead())]);
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
            if !net.is_internal() && net.is_on(MASQUERADE) {
                let is_routed = |v6| net.gateway_mode(v6) == GatewayMode::Routed;
                rules.extend(subnets().filter(|subnet| !is_routed(subnet.is_ipv6())).map(|subnet| {
                    let rule = Rule::new().output(Comparison::Ne, &net.bridge).from_network(subnet);
                    goes_out(rule, net.host_ip(subnet.is_ipv6()))
                }));
            }
        }
        rules
    }
}

/// Translates the source to the host's address, or to that of the link it leaves by.
fn goes_out(rule: Rule, host_ip: Option<IpAddr>) -> Rule {
    let Some(ip) = host_ip else { return rule.then(Expression::Masquerade) };
    let (which, address, port) = (Nat::Source, Reg(8), None);
    let rule = rule.then(Expression::Load { value: octets(ip), to: address });
    rule.then(match ip {
        IpAddr::V4(_) => Expression::Nat { which, address, port },
        IpAddr::V6(_) => Expression::NatV6 { which, address, port },
    })
}

/// What is addressed to members themselves, where the network lets that in.
fn directly(net: &NetworkSpec, v6: usize) -> Vec<Rule> {
    let family = || if v6 == 0 { Rule::new().ipv4() } else { Rule::new().ipv6() };
    match net.gateway_mode(v6 == 1) {
        GatewayMode::Unprotected => vec![family().verdict(Verdict::Accept)],
        GatewayMode::Routed => {
            let (rule, key, _) = keyed(family(), v6);
            let set = OPEN[v6].to_owned();
            let is_open = rule.then(Expression::Contains { set, key, inverted: false });
            vec![is_open.verdict(Verdict::Accept), family().transport(ICMP[v6]).verdict(Verdict::Accept)]
        }
        GatewayMode::Nat => {
            let from = |link| {
                let (rule, key, _) = keyed(family().input(Comparison::Eq, link), v6);
                let set = OPEN[v6].to_owned();
                rule.then(Expression::Contains { set, key, inverted: false }).verdict(Verdict::Accept)
            };
            net.trusted().map(from).collect()
        }
        GatewayMode::Isolated => Vec::new(),
    }
}

/// What comes from a bridge: to its own members, out of the machine, and to other networks by published ports only.
fn from_bridge(net: &NetworkSpec) -> Vec<Rule> {
    let mut rules = vec![
        Rule::new().connection_state(INVALID).verdict(Verdict::Drop),
        Rule::new().connection_state(ESTABLISHED_OR_RELATED).verdict(Verdict::Accept),
    ];
    let to_own = Rule::new().output(Comparison::Eq, &net.bridge);
    if net.is_on(ICC) {
        rules.push(to_own.verdict(Verdict::Accept));
    } else {
        rules.push(to_own.clone().is_translated().verdict(Verdict::Accept));
        rules.push(to_own.verdict(Verdict::Drop));
    }
    if net.is_internal() {
        rules.push(Rule::new().verdict(Verdict::Drop));
        return rules;
    }
    rules.push(Rule::new().output_in(BRIDGES).is_translated().verdict(Verdict::Accept));
    rules.push(Rule::new().output_in(BRIDGES).verdict(Verdict::Drop));
    rules.push(Rule::new().verdict(Verdict::Accept));
    rules
}

fn add_sets(batch: &mut Batch) {
    let name =
        Set { name: BRIDGES, key_type: datatype::IFNAME, key_len: 16, map: None, timeout: None, size: None };
    batch.add_set(&name);
    for map in [FROM, TO] {
        batch.add_set(&Set { name: map, map: Some(Map { datatype: datatype::VERDICT, len: 0 }), ..name });
    }
    for (v6, (address, len)) in [(datatype::IPV4_ADDR, 4), (datatype::IPV6_ADDR, 16)].into_iter().enumerate()
    {
        add_port_sets(batch, v6, true);
        let key_type = datatype::concat(&[address, datatype::INET_PROTO, datatype::INET_SERVICE]);
        batch.add_set(&Set { name: OPEN[v6], key_type, key_len: len + 8, ..name });
    }
}

/// Published ports of one family, as sets or as maps to where they lead.
pub(super) fn add_port_sets(batch: &mut Batch, v6: usize, is_map: bool) {
    let port = [datatype::INET_PROTO, datatype::INET_SERVICE];
    let (address, len) = [(datatype::IPV4_ADDR, 4), (datatype::IPV6_ADDR, 16)][v6];
    let target = Map { datatype: datatype::concat(&[address, datatype::INET_SERVICE]), len: len + 4 };
    let set = Set {
        name: ANYWHERE[v6],
        key_type: datatype::concat(&port),
        key_len: 8,
        map: is_map.then_some(target),
        timeout: None,
        size: None,
    };
    batch.add_set(&set);
    let key_type = datatype::concat(&[address, port[0], port[1]]);
    batch.add_set(&Set { name: SOMEWHERE[v6], key_type, key_len: len + 8, ..set });
}

/// Loads what published ports are looked up by, and where it is: with the address, and without.
pub(super) fn keyed(rule: Rule, v6: usize) -> (Rule, Reg, Reg) {
    if v6 == 0 {
        return (rule.load_destination(Reg(0)).load_transport(Reg(1)).load_port(Reg(2)), Reg(0), Reg(1));
    }
    (rule.load_destination_v6(Reg(0)).load_transport(Reg(4)).load_port(Reg(5)), Reg(0), Reg(4))
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
    let which = Nat::Destination;
    let to_v4 = Expression::Nat { which, address: Reg(8), port: Some(Reg(9)) };
    let to_v6 = Expression::NatV6 { which, address: Reg(8), port: Some(Reg(12)) };
    let (v4, v4_somewhere, _) = keyed(Rule::new().ipv4(), 0);
    let (v4_host, _, v4_anywhere) = keyed(Rule::new().ipv4().to_host(), 0);
    let (v6, v6_somewhere, _) = keyed(Rule::new().ipv6(), 1);
    // The host's loopback is no way to elsewhere: relayed.
    let (v6_host, _, v6_anywhere) = keyed(Rule::new().ipv6().to_host().not_to_loopback_v6(), 1);
    [
        lookup(v4, SOMEWHERE[0], v4_somewhere).then(to_v4.clone()),
        lookup(v4_host, ANYWHERE[0], v4_anywhere).then(to_v4),
        lookup(v6, SOMEWHERE[1], v6_somewhere).then(to_v6.clone()),
        lookup(v6_host, ANYWHERE[1], v6_anywhere).then(to_v6),
    ]
}

/// The elements that stand for a sandbox's published ports: they lead to its way out. What no rule can lead has none, it
/// is relayed.
fn elements(table: &Table, member: &Member) -> HashSet<(usize, &'static str, Element)> {
    let Some((endpoint, net)) =
        table.gateway(member).and_then(|endpoint| Some((endpoint, table.net(&endpoint.network).ok()?)))
    else {
        return HashSet::new();
    };
    if net.driver != Driver::Bridge {
        return HashSet::new();
    }
    let element = |port: &PublishedPort| {
        let v6 = usize::from(port.host_ip.is_ipv6());
        let target = if v6 == 1 { endpoint.v6() } else { endpoint.v4() }?;
        let value = [octets(target.ip), padded_port(port.container_port).to_vec()].concat();
        if net.gateway_mode(v6 == 1) == GatewayMode::Routed {
            return Some(open(port, target.ip));
        }
        if port.host_ip == IpAddr::V6(Ipv6Addr::LOCALHOST) {
            return None;
        }
        let (set, key) = match port.host_ip.is_unspecified() {
            true => (ANYWHERE[v6], port_key(port)),
            false => (SOMEWHERE[v6], [octets(port.host_ip), port_key(port)].concat()),
        };
        Some((v6, set, Element::value(key, value)))
    };
    let own = |port: &PublishedPort| {
        let target = if port.host_ip.is_ipv6() { endpoint.v6() } else { endpoint.v4() }?;
        Some(open(port, target.ip))
    };
    let direct = member.ports.iter().filter(|_| net.trusted().next().is_some()).filter_map(own);
    member.ports.iter().filter_map(element).chain(direct).collect()
}

/// The ports of a sandbox that connections of the host itself reach without a rule.
fn ways(table: &Table, member: &Member) -> Vec<Way> {
    let leads = |endpoint: &Endpoint| {
        let net = table.net(&endpoint.network).ok()?;
        let is_led = net.driver == Driver::Bridge && net.gateway_mode(false) != GatewayMode::Routed;
        match endpoint.v4().filter(|_| is_led)?.ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        }
    };
    let Some(ip) = table.gateway(member).and_then(leads) else { return Vec::new() };
    let is_near = |ip: IpAddr| ip == Ipv4Addr::UNSPECIFIED || ip == Ipv4Addr::LOCALHOST;
    let near = member.ports.iter().filter(|port| port.protocol == Protocol::Tcp && is_near(port.host_ip));
    near.map(|port| (port.host_port, SocketAddrV4::new(ip, port.container_port))).collect()
}

/// What stands for a port at the member's own address.
fn open(port: &PublishedPort, ip: IpAddr) -> (usize, &'static str, Element) {
    let place = PublishedPort { host_port: port.container_port, ..*port };
    let v6 = usize::from(ip.is_ipv6());
    (v6, OPEN[v6], Element::key([octets(ip), port_key(&place)].concat()))
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
