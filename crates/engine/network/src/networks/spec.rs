//! What a network is asked to be, what it became, and what a sandbox has of it.

use super::ahead::Ahead;
use crate::PublishedPort;
use hako_netlink::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;

/// What carries a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge of this machine; the host routes and translates.
    #[default]
    Bridge,
    /// Links with hardware addresses of their own on a link of the host.
    Macvlan,
    /// Links that share the hardware address of a link of the host.
    Ipvlan,
    /// Nothing: a network that only holds settings for others.
    Null,
}

impl Driver {
    /// The name as Docker writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Null => "null",
        }
    }
}

/// A request for a network.
#[derive(Clone, Debug, Default)]
pub struct NetworkRequest {
    /// Unique among the networks of an instance.
    pub name: String,
    /// What carries it.
    pub driver: Driver,
    /// No way out: no default route, and no packet passes to or from elsewhere.
    pub internal: bool,
    /// Kept for display only: there is no swarm.
    pub attachable: bool,
    /// Whether it has IPv4 addresses.
    pub ipv4: bool,
    /// Whether it has IPv6 addresses.
    pub ipv6: bool,
    /// A family without one gets a subnet that nobody else uses; a bridge has at most one of each.
    pub ipam: Vec<Ipam>,
    /// Who gives out addresses: empty or "default" for us, "null" for nobody.
    pub ipam_driver: String,
    /// For display.
    pub ipam_options: BTreeMap<String, String>,
    /// It only holds settings: nobody can be connected to it.
    pub config_only: bool,
    /// The name of the network whose settings it takes, if not empty.
    pub config_from: String,
    /// Options of the driver, by Docker's names.
    pub options: BTreeMap<String, String>,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
}

/// The addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipam {
    /// All of them.
    #[serde(with = "text")]
    pub subnet: IpNet,
    /// The host's own address in a bridge network, somebody else's with other drivers; the first if not given.
    pub gateway: Option<IpAddr>,
    /// Those that are given out to whoever asks for none in particular.
    #[serde(with = "optional_text", default)]
    pub range: Option<IpNet>,
    /// Addresses that are never given out, by names.
    #[serde(default)]
    pub aux: BTreeMap<String, IpAddr>,
    /// Whether a caller chose the subnet: only then may a caller choose addresses in it.
    #[serde(default)]
    pub chosen: bool,
}

/// A network as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// 64 hex digits.
    pub id: String,
    /// Unique.
    pub name: String,
    /// What carries it.
    pub driver: Driver,
    /// No way out.
    pub internal: bool,
    /// For display.
    pub attachable: bool,
    /// Those of a family are tried in this order. A bridge has one for each family it has.
    pub ipam: Vec<Ipam>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
    /// The bridge's name on the host; empty when there is none.
    pub bridge: String,
    /// Who gives out addresses.
    #[serde(default = "default_ipam")]
    pub ipam_driver: String,
    /// For display.
    #[serde(default)]
    pub ipam_options: BTreeMap<String, String>,
    /// The families that networks made from it have, if it only holds settings for them.
    #[serde(default)]
    pub config_only: Option<Families>,
    /// The network whose settings it took; empty for none.
    #[serde(default)]
    pub config_from: String,
    /// Whether the link that it sits on was made for it.
    #[serde(default)]
    pub has_own_parent: bool,
}

/// Families of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Families {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

/// The name of whoever gives out addresses, unless somebody else is to.
pub(super) const DEFAULT_IPAM: &str = "default";

fn default_ipam() -> String {
    DEFAULT_IPAM.to_owned()
}

/// The name of the network that containers get when they ask for none.
pub const DEFAULT_NETWORK: &str = "bridge";

impl NetworkSpec {
    /// Whether it is the one that is always there.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.name == DEFAULT_NETWORK
    }

    /// Whether it has IPv6 addresses.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        match self.config_only {
            Some(families) => families.ipv6,
            None => self.ipam.iter().any(|ipam| ipam.subnet.is_ipv6()),
        }
    }

    /// Whether it has IPv4 addresses.
    #[must_use]
    pub fn has_ipv4(&self) -> bool {
        match self.config_only {
            Some(families) => families.ipv4,
            None => self.ipam.iter().any(|ipam| !ipam.subnet.is_ipv6()),
        }
    }

    /// Whether no packet passes to or from elsewhere. Links that sit on nothing of the host have no way out either.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.internal || (self.driver != Driver::Bridge && self.said_parent().is_empty())
    }

    /// A switch among the options that is on unless it says otherwise.
    pub(crate) fn is_on(&self, option: &str) -> bool {
        self.options.get(option).is_none_or(|value| super::options::truth(value) != Some(false))
    }

    pub(crate) fn mtu(&self) -> Option<u32> {
        self.options.get(super::options::MTU)?.parse().ok()
    }
}

/// A request for a place of a sandbox in a network.
#[derive(Debug)]
pub struct Connect<'a> {
    /// The network's id.
    pub network: &'a str,
    /// The sandbox's id; a file name.
    pub sandbox: &'a str,
    /// The sandbox's network namespace.
    pub netns: &'a File,
    /// A certain address of IPv4.
    pub ip4: Option<IpAddr>,
    /// A certain address of IPv6.
    pub ip6: Option<IpAddr>,
    /// Addresses besides those of the network, that count on its link only.
    pub link_local: Vec<IpAddr>,
    /// A certain hardware address.
    pub mac: Option<[u8; 6]>,
    /// The names that others in the network find it by; the first is its own.
    pub names: Vec<String>,
    /// Names that only this sandbox knows others by: (name, sandbox).
    pub links: Vec<(String, String)>,
    /// The highest of a sandbox's networks leads its default route; among equals the first by name.
    pub priority: i32,
    /// Options by Docker's names.
    pub options: BTreeMap<String, String>,
    /// What was made of this ahead: `netns` is its namespace, and the sandbox is in no other network and has no options.
    pub ahead: Option<&'a Ahead>,
}

/// A sandbox's place in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network's id.
    pub network: String,
    /// 64 hex digits.
    pub id: String,
    /// The link's name in the sandbox.
    pub interface: String,
    /// The host's end; empty when there is none.
    pub link: String,
    /// The hardware address.
    pub mac: String,
    /// The addresses, at most one of each family, with the subnet's prefix.
    pub addresses: Vec<EndpointAddress>,
    /// The names that others find it by; the first is its own.
    pub names: Vec<String>,
    /// Names that only this sandbox knows others by: (name, sandbox).
    pub links: Vec<(String, String)>,
    /// See [`Connect::priority`].
    pub priority: i32,
    /// See [`Connect::link_local`].
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
}

/// An address of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointAddress {
    /// The address.
    pub ip: IpAddr,
    /// The subnet's prefix.
    pub prefix: u8,
    /// Where everything else is reached, if anywhere.
    pub gateway: Option<IpAddr>,
}

impl Endpoint {
    /// Its address of IPv4.
    #[must_use]
    pub fn v4(&self) -> Option<EndpointAddress> {
        self.addresses.iter().copied().find(|address| address.ip.is_ipv4())
    }

    /// Its address of IPv6.
    #[must_use]
    pub fn v6(&self) -> Option<EndpointAddress> {
        self.addresses.iter().copied().find(|address| address.ip.is_ipv6())
    }
}

/// All that a sandbox has of networks; one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its places, in the order in which it got them.
    pub endpoints: Vec<Endpoint>,
    /// Ports of the host that lead to it, as granted.
    pub ports: Vec<PublishedPort>,
}

mod text {
    use hako_netlink::IpNet;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(net: &IpNet, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(net)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IpNet, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod optional_text {
    use hako_netlink::IpNet;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(net: &Option<IpNet>, to: S) -> Result<S::Ok, S::Error> {
        net.map(|net| net.to_string()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<IpNet>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}
