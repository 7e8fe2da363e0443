//! What a sandbox asks of the network and what it gets.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// A request for a place on the network.
#[derive(Clone, Debug)]
pub struct Attach {
    /// The sandbox's id; any text without `/`.
    pub id: String,
    /// The sandbox's network namespace, such as `/proc/PID/ns/net`.
    pub netns: PathBuf,
    /// Ports of the host that lead to it.
    pub ports: Vec<PublishedPort>,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The name as Docker and Kubernetes' CLI write it, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The number that packets carry.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// A port of the host that leads to a port of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The host's address; unspecified (0.0.0.0 or ::) means all of its family.
    pub host_ip: IpAddr,
    /// The host's port; 0 in a request picks a free one.
    pub host_port: u16,
    /// The sandbox's port.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A place on the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The sandbox's id.
    pub id: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its gateway, which is also an address of the host.
    pub gateway: Ipv4Addr,
    /// The subnet's prefix length, for display; on the link itself the address is a /32.
    pub prefix: u8,
    /// Its link's hardware address, `02:…`.
    pub mac: String,
    /// The host's end of its link.
    pub link: String,
    /// The published ports with the host ports that were picked.
    pub ports: Vec<PublishedPort>,
}
