//! The instance's nft table: masquerade, published ports, and what protects the host's loopback.
//!
//! The bridge routes addresses of 127.0.0.0/8 (`route_localnet`), or else 127.0.0.1:PORT of the host could not lead
//! to a sandbox. In return the guard drops whatever a sandbox addresses to, or pretends to send from, a loopback
//! address (CVE-2020-8558).

use crate::attachment::{Attachment, PublishedPort};
use crate::error::Result;
use crate::networks::Firewall;
use crate::networks::door::{self, Door, FAMILIES, Owner};
use hako_netlink::Ipv4Net;
use hako_netlink::nft::{
    Batch, Chain, Comparison, Element, Expression, Family, Hook, HookPoint, HookType, Map, Nat, Nft, Reg,
    Rule, Set, Verdict, datatype,
};
use std::net::{IpAddr, Ipv4Addr};

/// (protocol . port) → (address . port), for ports published on all addresses.
const ANYWHERE: &str = "published";
/// (address . protocol . port) → (address . port), for ports published on one address.
const SOMEWHERE: &str = "published-on";
/// (address . address): sandboxes that may reach themselves by a published port.
const HAIRPIN: &str = "hairpin";

const INVALID: u32 = 1;
const ICMP: u8 = 1;
const ICMP_REDIRECT: u8 = 5;

/// The table of one instance.
#[derive(Debug)]
pub(crate) struct Rules {
    nft: Nft,
    table: String,
    /// With it the host's firewall decides on published ports.
    door: Option<Door>,
}

impl Rules {
    /// Makes the table say what it should, in one step; what it said before goes on until then.
    pub(crate) fn open(
        instance: &str,
        bridge: &str,
        subnet: Ipv4Net,
        attachments: &[Attachment],
        firewall: Firewall,
    ) -> Result<Self> {
        let door = match firewall {
            Firewall::Own => None,
            Firewall::Host => Some(Door::open(instance, Owner::Pods)?),
        };
        let mut rules = Self { nft: Nft::open()?, table: format!("hako-{instance}"), door };
        let mut batch = Batch::new(&rules.table);
        if let Some(door) = &rules.door {
            door.add_to(&mut batch);
            batch.turn_to(Family::Inet, &rules.table);
        }
        batch.add_table();
        add_sets(&mut batch);
        for name in [ANYWHERE, SOMEWHERE, HAIRPIN] {
            batch.flush_set(name);
        }
        for attachment in attachments {
            rules.add_ports(&mut batch, attachment);
        }
        batch.turn_to(Family::Inet, &rules.table);
        add_chains(&mut batch, bridge, subnet, &rules.ways_in(instance, bridge));
        rules.nft.commit(batch)?;
        Ok(rules)
    }

    /// Leads the attachment's ports to it.
    pub(crate) fn publish(&mut self, attachment: &Attachment) -> Result<()> {
        let mut batch = Batch::new(&self.table);
        self.add_ports(&mut batch, attachment);
        Ok(self.nft.commit(batch)?)
    }

    pub(crate) fn withdraw(&mut self, attachment: &Attachment) -> Result<()> {
        let mut batch = Batch::new(&self.table);
        for (place, set, elements) in self.places(attachment) {
            batch.turn_to(place.0, place.1).delete_elements(set, &elements);
        }
        match self.nft.commit(batch) {
            Err(error) if error.is_not_found() => Ok(()),
            other => Ok(other?),
        }
    }

    /// The elements that stand for an attachment, with their tables; see [`door`].
    fn places(&self, attachment: &Attachment) -> Vec<((Family, &str), &'static str, Vec<Element>)> {
        let mut places = Vec::new();
        for (set, elements) in elements(attachment) {
            if let Some(door) = self.door.as_ref().filter(|_| set != HAIRPIN) {
                let keys = elements.iter().map(|element| Element::key(element.key.clone())).collect();
                places.push(((FAMILIES[0], door.table.as_str()), set, keys));
            }
            places.push(((Family::Inet, self.table.as_str()), set, elements));
        }
        places
    }

    fn add_ports(&self, batch: &mut Batch, attachment: &Attachment) {
        for (place, set, elements) in self.places(attachment) {
            batch.turn_to(place.0, place.1).add_elements(set, &elements);
        }
    }

    /// What packets that are led to sandboxes at once have in common, by where they come from.
    fn ways_in(&self, instance: &str, bridge: &str) -> Vec<Rule> {
        let Some(door) = &self.door else { return vec![Rule::new()] };
        vec![
            Rule::new().input(Comparison::Eq, &door.far),
            Rule::new().input(Comparison::Eq, bridge),
            Rule::new().input_group(door::inside(instance)),
        ]
    }

    pub(crate) fn delete(&mut self) -> Result<()> {
        if let Some(door) = &self.door {
            let mut batch = Batch::new(&self.table);
            door.remove_from(&mut batch);
            self.nft.commit(batch)?;
        }
        Ok(self.nft.delete_table(&self.table)?)
    }
}

fn add_sets(batch: &mut Batch) {
    let target = Map { datatype: datatype::concat(&[datatype::IPV4_ADDR, datatype::INET_SERVICE]), len: 8 };
    let port = [datatype::INET_PROTO, datatype::INET_SERVICE];
    let set = Set {
        name: ANYWHERE,
        key_type: datatype::concat(&port),
        key_len: 8,
        map: Some(target),
        timeout: None,
        size: None,
    };
    batch.add_set(&set);
    let key_type = datatype::concat(&[datatype::IPV4_ADDR, port[0], port[1]]);
    batch.add_set(&Set { name: SOMEWHERE, key_type, key_len: 12, ..set });
    let key_type = datatype::concat(&[datatype::IPV4_ADDR, datatype::IPV4_ADDR]);
    batch.add_set(&Set { name: HAIRPIN, key_type, key_len: 8, map: None, ..set });
}

/// The elements that stand for an attachment.
fn elements(attachment: &Attachment) -> [(&'static str, Vec<Element>); 3] {
    let element = |port: &PublishedPort, key| {
        Element::value(key, [&attachment.ip.octets()[..], &padded_port(port.container_port)].concat())
    };
    let (anywhere, somewhere): (Vec<_>, Vec<_>) =
        attachment.ports.iter().partition(|port| port.host_ip.is_unspecified());
    let ip = attachment.ip.octets();
    let hairpin = if attachment.ports.is_empty() { vec![] } else { vec![Element::key([ip, ip].concat())] };
    [
        (ANYWHERE, anywhere.into_iter().map(|port| element(port, port_key(port))).collect()),
        (
            SOMEWHERE,
            somewhere
                .into_iter()
                .filter_map(|port| {
                    let IpAddr::V4(host_ip) = port.host_ip else { return None };
                    Some(element(port, [&host_ip.octets()[..], &port_key(port)].concat()))
                })
                .collect(),
        ),
        (HAIRPIN, hairpin),
    ]
}

pub(crate) fn port_key(port: &PublishedPort) -> Vec<u8> {
    [&[port.protocol.number(), 0, 0, 0][..], &padded_port(port.host_port)].concat()
}

pub(crate) fn padded_port(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn add_chains(batch: &mut Batch, bridge: &str, subnet: Ipv4Net, ways_in: &[Rule]) {
    let filter = |point, priority| Hook { kind: HookType::Filter, point, priority };
    let nat = |point, priority| Hook { kind: HookType::Nat, point, priority };
    add_chain(batch, "guard", filter(HookPoint::Prerouting, -300), &guard(bridge));
    add_chain(batch, "forward", filter(HookPoint::Forward, 0), &forward(bridge));
    add_chain(batch, "redirects", filter(HookPoint::Output, 0), &[no_redirects(bridge)]);
    let from_outside: Vec<Rule> = ways_in.iter().flat_map(published).collect();
    add_chain(batch, "prerouting", nat(HookPoint::Prerouting, -100), &from_outside);
    add_chain(batch, "output", nat(HookPoint::Output, -100), &published(&Rule::new()));
    add_chain(batch, "postrouting", nat(HookPoint::Postrouting, 100), &masquerade(bridge, subnet));
}

pub(crate) fn loopback() -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::LOCALHOST, 8)
}

fn guard(bridge: &str) -> [Rule; 2] {
    let from_bridge = || Rule::new().input(Comparison::Eq, bridge).ipv4();
    [
        from_bridge().destination(Comparison::Eq, loopback()).verdict(Verdict::Drop),
        from_bridge().source(Comparison::Eq, loopback()).verdict(Verdict::Drop),
    ]
}

fn forward(bridge: &str) -> [Rule; 3] {
    let from_bridge = || Rule::new().input(Comparison::Eq, bridge);
    [
        from_bridge().connection_state(INVALID).verdict(Verdict::Drop),
        from_bridge().verdict(Verdict::Accept),
        Rule::new().output(Comparison::Eq, bridge).verdict(Verdict::Accept),
    ]
}

/// Sandboxes reach each other by the gateway on purpose; telling them of a shorter way is noise.
fn no_redirects(bridge: &str) -> Rule {
    Rule::new()
        .output(Comparison::Eq, bridge)
        .transport(ICMP)
        .then(Expression::Transport { offset: 0, len: 1, to: Reg(0) })
        .then(Expression::Compare { reg: Reg(0), how: Comparison::Eq, with: vec![ICMP_REDIRECT] })
        .verdict(Verdict::Drop)
}

fn masquerade(bridge: &str, subnet: Ipv4Net) -> [Rule; 3] {
    let to_bridge = || Rule::new().output(Comparison::Eq, bridge).ipv4();
    [
        Rule::new()
            .output(Comparison::Ne, bridge)
            .ipv4()
            .source(Comparison::Eq, subnet)
            .then(Expression::Masquerade),
        to_bridge().source(Comparison::Eq, loopback()).then(Expression::Masquerade),
        to_bridge()
            .is_translated()
            .load_source(Reg(0))
            .load_destination(Reg(1))
            .then(Expression::Contains { set: HAIRPIN.into(), key: Reg(0), inverted: false })
            .then(Expression::Masquerade),
    ]
}

/// Rules that lead published ports to their sandboxes, of packets that `way` lets by.
fn published(way: &Rule) -> [Rule; 2] {
    let translate = |rule: Rule, map: &str, key| {
        rule.then(Expression::Lookup { map: map.into(), key, to: Reg(4) }).then(Expression::Nat {
            which: Nat::Destination,
            address: Reg(4),
            port: Some(Reg(5)),
        })
    };
    let keyed = |rule: Rule| rule.load_destination(Reg(0)).load_transport(Reg(1)).load_port(Reg(2));
    [
        translate(keyed(way.clone().ipv4()), SOMEWHERE, Reg(0)),
        translate(keyed(way.clone().ipv4().to_host()), ANYWHERE, Reg(1)),
    ]
}

pub(crate) fn add_chain(batch: &mut Batch, name: &str, hook: Hook, rules: &[Rule]) {
    batch.add_chain(&Chain { name, hook: Some(hook) }).flush_chain(name);
    for rule in rules {
        batch.add_rule(name, rule);
    }
}
