//! The link that a macvlan or ipvlan network sits on: one of the host, a VLAN of one, or one that leads nowhere.
//!
//! The last two are made for the network, and go with the last network that sits on them.

use super::options::{PARENT, PASSTHRU};
use super::spec::{Driver, NetworkSpec};
use super::table::Table;
use crate::error::{ParentError, Result};
use hako_netlink::{Errno, Link, Links};

/// Kinds of links that drop what they are given, the usual one first. `ifb` is meant for something else, yet it drops
/// all that no rule of traffic control leads to it.
const NOWHERE: [&str; 2] = ["dummy", "ifb"];

impl NetworkSpec {
    /// The parent that somebody named.
    pub(super) fn said_parent(&self) -> &str {
        self.options.get(PARENT).map_or("", String::as_str)
    }

    /// The name of the link that it sits on.
    pub(super) fn parent(&self) -> String {
        match self.said_parent() {
            "" => format!("dm-{}", &self.id[..12]),
            said => said.to_owned(),
        }
    }
}

/// A VLAN by the name of its link: `eth0.10`.
struct Vlan {
    parent: Link,
    id: u16,
}

impl Vlan {
    fn parse(name: &str, links: &mut Links) -> Result<Self> {
        let no_format = || ParentError::VlanFormat { name: name.to_owned() };
        let mut parts = name.split('.');
        let (parent, id) = match (parts.next(), parts.next(), parts.next()) {
            (_, None, _) => return Err(ParentError::NoVlanName { name: name.to_owned() }.into()),
            (Some(parent), Some(id), None) => (parent, id),
            _ => return Err(no_format().into()),
        };
        let id: i64 = id.parse().map_err(|_| ParentError::BadVlanId { text: id.to_owned() })?;
        let found = links.find(parent)?;
        let parent = found.ok_or_else(|| ParentError::NoParent { name: parent.to_owned() })?;
        let in_range = u16::try_from(id).ok().filter(|id| (1..=4094).contains(id));
        let id = in_range.ok_or(ParentError::VlanRange { id })?;
        Ok(Self { parent, id })
    }
}

/// Checks that the network can sit where it is to; whether the link there is, or will be, made for networks.
pub(super) fn plan(table: &Table, net: &NetworkSpec, links: &mut Links) -> Result<bool> {
    let name = net.parent();
    if name == "lo" {
        return Err(ParentError::LoopbackParent { driver: net.driver.as_str() }.into());
    }
    let mut others = sharing(table, net).peekable();
    if let Some(other) = others.peek() {
        is_free(net, other)?;
    }
    if links.find(&name)?.is_some() {
        return Ok(others.any(|other| other.has_own_parent));
    }
    if !net.said_parent().is_empty() {
        Vlan::parse(&name, links)?;
    }
    Ok(true)
}

/// The other networks that sit on the same link.
pub(super) fn sharing<'t>(table: &'t Table, net: &NetworkSpec) -> impl Iterator<Item = &'t NetworkSpec> {
    let (id, name) = (net.id.clone(), net.parent());
    let sits = |other: &NetworkSpec| matches!(other.driver, Driver::Macvlan | Driver::Ipvlan);
    table.nets().filter(move |other| sits(other) && other.id != id && other.parent() == name)
}

/// One link carries macvlan or ipvlan, and of ipvlan one network.
fn is_free(net: &NetworkSpec, other: &NetworkSpec) -> Result<()> {
    let parent = net.parent();
    let is_alone = |net: &NetworkSpec| net.options.get("macvlan_mode").is_some_and(|mode| mode == PASSTHRU);
    if net.driver == Driver::Ipvlan {
        let other = format!("dm-{}", &other.id[..12]);
        return Err(ParentError::ParentInUse { other, parent }.into());
    }
    if is_alone(net) {
        return Err(ParentError::NotAlone { other: other.id.clone(), parent }.into());
    }
    match is_alone(other) {
        true => Err(ParentError::OtherAlone { other: other.id.clone(), parent }.into()),
        false => Ok(()),
    }
}

/// Makes the network's link, unless it is there or is the host's.
pub(super) fn make(net: &NetworkSpec, links: &mut Links) -> Result<()> {
    let name = net.parent();
    if !net.has_own_parent || links.find(&name)?.is_some() {
        return Ok(());
    }
    if !net.said_parent().is_empty() {
        let vlan = Vlan::parse(&name, links)?;
        return match links.create_vlan(&name, vlan.parent.index, vlan.id) {
            Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => Err(ParentError::NoVlan { name }.into()),
            other => Ok(other?),
        };
    }
    for kind in NOWHERE {
        match links.create_plain(&name, kind) {
            Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {}
            other => return Ok(other?),
        }
    }
    Err(ParentError::NoDummy { driver: net.driver.as_str() }.into())
}

/// Takes the network's link away. What has its name and is something else stays.
pub(super) fn unmake(net: &NetworkSpec, links: &mut Links) -> Result<()> {
    let name = net.parent();
    let is_own = |link: Link| link.kind == "vlan" || NOWHERE.contains(&link.kind.as_str());
    if !net.has_own_parent || !links.find(&name)?.is_some_and(is_own) {
        return Ok(());
    }
    match links.delete(&name) {
        Err(error) if error.is_not_found() => Ok(()),
        other => Ok(other?),
    }
}
