//! Why the network could not do what was asked.

use hako_error::{Classify, Kind};
use hako_netlink::{Ipv4Net, NetlinkError};
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Why the network could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error("port {port}/{protocol} on {ip} is in use, stop what listens there or publish another port")]
    PortInUse { ip: Ipv4Addr, port: u16, protocol: &'static str },
    #[error("publish port {port}/{protocol}: this machine has no address {ip}")]
    NoSuchAddress { ip: Ipv4Addr, port: u16, protocol: &'static str },
    #[error("reserve port {port}/{protocol} on {ip}")]
    Reserve { ip: Ipv4Addr, port: u16, protocol: &'static str, source: io::Error },
    #[error("no free address in {subnet}, remove containers or widen the range")]
    NoFreeAddress { subnet: Ipv4Net },
    #[error("no free {what} range: all candidates overlap routes of this machine or other instances")]
    NoFreeRange { what: &'static str },
    #[error("range {range} of this instance is used by instance {other} now, take one of the two down")]
    RangeTaken { range: Ipv4Net, other: String },
    #[error("subnet {subnet} is too small, it needs at least room for a gateway and one sandbox (/30)")]
    SubnetTooSmall { subnet: Ipv4Net },
    #[error("sandbox {id} has the address {ip} outside of {subnet}, detach it before the range is changed")]
    OutsideSubnet { id: String, ip: Ipv4Addr, subnet: Ipv4Net },
    #[error("{id:?} cannot name a sandbox: it has to be a file name")]
    BadId { id: String },
    #[error("{instance:?} is no instance name, expected at most 12 letters or digits")]
    BadInstance { instance: String },
    #[error("open network namespace {}, is the sandbox running?", path.display())]
    Namespace { path: PathBuf, source: io::Error },
    #[error("{action} {}", path.display())]
    State { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is damaged, remove it to forget what it recorded", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("start the thread that deletes links")]
    Thread { source: io::Error },
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl Classify for NetworkError {
    fn kind(&self) -> Kind {
        match self {
            Self::PortInUse { .. } => Kind::AlreadyExists,
            Self::NoSuchAddress { .. }
            | Self::BadId { .. }
            | Self::BadInstance { .. }
            | Self::SubnetTooSmall { .. } => Kind::Invalid,
            Self::NoFreeAddress { .. } | Self::NoFreeRange { .. } | Self::Thread { .. } => Kind::Exhausted,
            Self::RangeTaken { .. } | Self::OutsideSubnet { .. } => Kind::FailedPrecondition,
            Self::Namespace { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::Reserve { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Kind::Forbidden
            }
            Self::State { source, .. } => Kind::of_io(source),
            Self::Namespace { .. } | Self::Reserve { .. } => Kind::Internal,
            Self::Damaged { .. } => Kind::DataLoss,
            Self::Netlink(error) => error.kind(),
        }
    }
}

pub(crate) type Result<T, E = NetworkError> = std::result::Result<T, E>;
