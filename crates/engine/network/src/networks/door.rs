//! `--firewall host`: the host's own rules decide on published ports, as if programs of the host listened there.
//!
//! ```text
//! client ──▶ INPUT of the host: addressed as the client sent it. Dropped there, or else
//!            table hako-<instance>-door, last of all: a copy goes by ho<instance>, the original ends
//!        ──▶ hi<instance>, the other end: translated to the sandbox, FORWARD of the host, the sandbox's bridge
//! ```
//! Only first packets take this way; those that follow go by the connection that the kernel knows then. The client's
//! address stays. What comes from the host itself or from a bridge is translated at once, as ever: it is no matter of
//! INPUT. Ports of pods go by the same links and a table of their own, `hako-<instance>-pods-door`. See
//! docs/decisions/0012.

use super::device::{forward_ipv6, set_ipv6};
use super::rules::{ANYWHERE, SOMEWHERE, add_port_sets, keyed};
use crate::bridge::hash;
use crate::error::{NetworkError, Result};
use crate::records::failed;
use crate::rules::add_chain;
use hako_netlink::nft::{
    Batch, Chain, Comparison, Expression, Family, Hook, HookPoint, HookType, Nft, Reg, Rule, Verdict,
};
use hako_netlink::{Links, Veth};
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::Path;

/// After all others that may judge, before the kernel confirms the connection.
const LAST: i32 = i32::MAX - 1;
/// Stands for nobody, RFC 7600; a link without an address is refused by loose reverse path filters.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 8);
/// Where copies go: to some address that is not this host's own, beyond the near end.
const BEYOND: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 0, 11), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9));
/// Both ends have it: so what one sends the other takes, without asking.
const MAC: [u8; 6] = [0x02, 0x64, 0x6f, 0x6f, 0x72, 0x01];
const NEW: u32 = 8;

pub(crate) const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// Whose ports a door is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The networks that people make.
    Networks,
    /// The network of pods.
    Pods,
}

/// The group of links that sandboxes are behind: the bridges of an instance, but for that of its pods.
pub(crate) fn inside(instance: &str) -> u32 {
    // Small numbers are what administrators use.
    hash("inside-".bytes().chain(instance.bytes())) | 1 << 31
}

/// A pair of links of the host, by which packets come in a second time.
#[derive(Debug)]
pub(crate) struct Door {
    near: String,
    /// Where they come in.
    pub(crate) far: String,
    pub(crate) table: String,
    /// The number of the near end.
    link: u32,
}

impl Door {
    fn named(instance: &str, owner: Owner) -> Self {
        let (near, far) = (format!("ho{instance}"), format!("hi{instance}"));
        let table = match owner {
            Owner::Networks => format!("hako-{instance}-door"),
            Owner::Pods => format!("hako-{instance}-pods-door"),
        };
        Self { near, far, table, link: 0 }
    }

    /// Makes the links, unless they are there. The table is for [`Self::add_to`].
    pub(crate) fn open(instance: &str, owner: Owner) -> Result<Self> {
        let mut door = Self::named(instance, owner);
        door.probe()?;
        let mut links = Links::open()?;
        if links.find(&door.near)?.is_none() || links.find(&door.far)?.is_none() {
            door.make(&mut links)?;
        }
        for name in [&door.near, &door.far] {
            set_ipv6(name, "disable_ipv6", "0")?;
            set_ipv6(name, "accept_ra", "0")?;
            links.set_up_without_arp(name, MAC)?;
        }
        door.link = links.get(&door.near)?.index;
        let far = links.get(&door.far)?.index;
        links.add_ip(far, NOBODY.into(), 32)?;
        if Path::new("/proc/sys/net/ipv6").exists() {
            links.add_ip(door.link, LINK_LOCAL.into(), 64)?;
            forward_ipv6()?;
        }
        for (name, value) in [("forwarding", "1"), ("rp_filter", "0"), ("send_redirects", "0")] {
            let path = Path::new("/proc/sys/net/ipv4/conf").join(&door.far).join(name);
            fs::write(&path, value).map_err(failed("write", &path))?;
        }
        Ok(door)
    }

    fn make(&self, links: &mut Links) -> Result<()> {
        self.unlink(links)?;
        let own = Path::new("/proc/thread-self/ns/net");
        let namespace = File::open(own).map_err(failed("open", own))?;
        let veth = Veth {
            name: &self.near,
            master: None,
            peer_name: &self.far,
            peer_mac: MAC,
            peer_namespace: namespace.as_fd(),
            mtu: Some(u32::from(u16::MAX)),
        };
        Ok(links.create_veth(&veth)?)
    }

    fn unlink(&self, links: &mut Links) -> Result<()> {
        match links.delete(&self.near) {
            Err(error) if error.is_not_found() => Ok(()),
            other => Ok(other?),
        }
    }

    /// Takes tables and links of an earlier process away. The links are made before the tables and go after them.
    pub(super) fn remove(instance: &str) -> Result<()> {
        let door = Self::named(instance, Owner::Networks);
        let mut links = Links::open()?;
        if links.find(&door.near)?.is_none() {
            return Ok(());
        }
        let mut batch = Batch::new(&door.table);
        door.remove_from(&mut batch);
        Self::named(instance, Owner::Pods).remove_from(&mut batch);
        Nft::open()?.commit(batch)?;
        door.unlink(&mut links)
    }

    /// Says now what the kernel lacks.
    fn probe(&self) -> Result<()> {
        // The table itself may be at work.
        let name = format!("{}-probe", self.table);
        let mut batch = Batch::new(&name);
        for family in FAMILIES {
            batch.turn_to(family, &name).clear_table().add_table();
            batch.add_chain(&Chain { name: "input", hook: None });
            batch.add_rule("input", &self.copy(Rule::new(), family)).delete_table();
        }
        Nft::open()?.commit(batch).map_err(|source| NetworkError::NoDoor { source })
    }

    pub(crate) fn remove_from(&self, batch: &mut Batch) {
        for family in FAMILIES {
            batch.turn_to(family, &self.table).clear_table();
        }
    }

    /// Puts the tables without ports in place of what was there.
    pub(crate) fn add_to(&self, batch: &mut Batch) {
        let hook = Hook { kind: HookType::Filter, point: HookPoint::Input, priority: LAST };
        for (v6, family) in FAMILIES.into_iter().enumerate() {
            batch.turn_to(family, &self.table).clear_table().add_table();
            add_port_sets(batch, v6, false);
            let (rule, somewhere, anywhere) = keyed(self.of_outsiders(), v6);
            let is_published = |rule: Rule, set: &str, key| {
                let rule = rule.then(Expression::Contains { set: set.to_owned(), key, inverted: false });
                self.copy(rule, family).verdict(Verdict::Drop)
            };
            let rules = [
                is_published(rule.clone(), SOMEWHERE[v6], somewhere),
                is_published(rule, ANYWHERE[v6], anywhere),
            ];
            add_chain(batch, "input", hook, &rules);
        }
    }

    /// First packets that came by a link, and not a second time.
    fn of_outsiders(&self) -> Rule {
        let rule = Rule::new().input(Comparison::Ne, &self.far).input(Comparison::Ne, "lo");
        rule.connection_state(NEW)
    }

    fn copy(&self, rule: Rule, family: Family) -> Rule {
        let (address, link) = (Reg(8), Reg(12));
        let value = match family {
            Family::Ipv6 => BEYOND.1.octets().to_vec(),
            _ => BEYOND.0.octets().to_vec(),
        };
        let rule = rule.then(Expression::Load { value, to: address }).load_u32(self.link, link);
        rule.then(Expression::Duplicate { address, link })
    }
}
