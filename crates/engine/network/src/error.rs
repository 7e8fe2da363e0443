//! Why the network could not do what was asked.

use hako_error::{Classify, Kind};
use hako_netlink::{IpNet, Ipv4Net, NetlinkError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Why the network could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error(
        "Bind for {address} failed: port is already allocated: stop what has port {port}/{protocol} or publish another",
        address = SocketAddr::new(*ip, *port)
    )]
    PortInUse { ip: IpAddr, port: u16, protocol: &'static str },
    #[error("publish port {port}/{protocol}: this machine has no address {ip}")]
    NoSuchAddress { ip: IpAddr, port: u16, protocol: &'static str },
    #[error("reserve port {port}/{protocol} on {ip}")]
    Reserve { ip: IpAddr, port: u16, protocol: &'static str, source: io::Error },
    #[error(
        "the host's firewall cannot decide on published ports: that needs a kernel with CONFIG_NFT_DUP_IPV4 and CONFIG_NFT_DUP_IPV6"
    )]
    NoDoor { source: NetlinkError },
    #[error("carry what comes to port {port} on {ip}")]
    Relay { ip: IpAddr, port: u16, source: io::Error },
    #[error(
        "publish port {port}/sctp on {ip}: nothing can carry SCTP from there to the container, publish it on an address of the container's family"
    )]
    NoSctpRelay { ip: IpAddr, port: u16 },
    #[error("no free address in {subnet}, remove containers or widen the range")]
    NoFreeAddress { subnet: Ipv4Net },
    #[error("no free {what} range: all candidates overlap routes of this machine or other instances")]
    NoFreeRange { what: &'static str },
    #[error(
        "the platform of {other} has taken the range {range} while this one was away, and objects of this one have addresses in it: \
         end the other, with its data, by `hako down --purge --data-dir {other}`, or this one"
    )]
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
    #[error("start the thread that makes or deletes links")]
    Thread { source: io::Error },
    #[error("make a network namespace")]
    NewNamespace { source: io::Error },
    #[error("publish port {port} on {ip}: pods have no IPv6 address, leave the address out")]
    NoIpv6 { ip: IpAddr, port: u16 },
    #[error("{count} ports are too many for one container, at most {max} can be published")]
    TooManyPorts { count: usize, max: usize },
    #[error("network {name} not found")]
    NoNetwork { name: String },
    #[error("network {prefix} is ambiguous: it begins the ids of more than one network")]
    AmbiguousNetwork { prefix: String },
    #[error("network with name {name} already exists")]
    NameTaken { name: String },
    #[error("{name} is a pre-defined network and cannot be removed")]
    Predefined { name: String },
    #[error("error while removing network: network {name} has active endpoints ({endpoints})")]
    HasEndpoints { name: String, endpoints: String },
    #[error("endpoint of {sandbox} already exists in network {name}")]
    Connected { sandbox: String, name: String },
    #[error("invalid pool request: Pool overlaps with other one on this address space: {subnet} and {other}")]
    PoolOverlaps { subnet: IpNet, other: IpNet },
    #[error("all predefined address pools have been fully subnetted: choose a subnet")]
    NoFreePool,
    #[error("subnet {subnet} is too small, it needs room for a gateway and one container")]
    PoolTooSmall { subnet: IpNet },
    #[error("bridge driver doesn't support multiple subnets")]
    SeveralSubnets,
    #[error("no configured subnet or ip-range contain the IP address {ip}")]
    NotInSubnet { ip: IpAddr },
    #[error("invalid network config:\ninvalid {what}: parent subnet {subnet} doesn't contain this address")]
    BadAddress { what: String, subnet: IpNet },
    #[error("invalid network config:\ninvalid ip-range {range}: {why}")]
    BadRange { range: IpNet, why: String },
    #[error("no available addresses in {subnet}: remove containers or make a network with a wider subnet")]
    PoolEmpty { subnet: IpNet },
    #[error("Address already in use: {ip}")]
    AddressInUse { ip: IpAddr },
    #[error(
        "invalid address {ip} for network {name}: user specified IP address is supported only when connecting to networks with user configured subnets"
    )]
    NotChosen { ip: IpAddr, name: String },
    #[error("network {name} is full: a bridge takes 1023 containers")]
    BridgeFull { name: String },
    #[error("link {name} is no bridge: choose another name for the network's bridge")]
    NoBridge { name: String },
    #[error("a link named {name} exists: choose another name for the network's bridge")]
    BridgeTaken { name: String },
    #[error("requested {driver} {what} '{value}' is not valid, {default}")]
    BadMode { driver: &'static str, what: &'static str, value: String, default: &'static str },
    #[error("failed to parse {name} value: {value} (unknown gateway mode {value})")]
    BadGatewayMode { name: &'static str, value: String },
    #[error("failed to parse {name} value: {value} (strconv.ParseBool: parsing {value:?}: invalid syntax)")]
    NoTruth { name: &'static str, value: String },
    #[error("failed to parse {name} value: {value} (nil ip)")]
    NoIp { name: &'static str, value: String },
    #[error("gateway mode 'isolated' can only be used for an internal network")]
    IsolatedNotInternal,
    #[error("configuration network {name:?} does not exist")]
    NoConfig { name: String },
    #[error("cannot create endpoint on configuration-only network")]
    ConfigOnly,
    #[error("error while removing network: configuration network {name:?} is in use")]
    ConfigInUse { name: String },
    #[error("could not find plugin {name} in v1 plugin registry: plugin not found")]
    NoIpamDriver { name: String },
    #[error("null ipam driver does not handle specific address pool requests")]
    NullPool,
    #[error("{family} pool is empty")]
    NoPool { family: &'static str },
    #[error("IPv4 or IPv6 must be enabled")]
    NoFamily,
    #[error("invalid link local IP address: {ip}")]
    NotLinkLocal { ip: IpAddr },
    #[error("driver {driver} needs a kernel with {option}")]
    NoKernelSupport { driver: &'static str, option: &'static str },
    #[error("option {name} cannot be {value:?}")]
    BadOption { name: &'static str, value: String },
    #[error(
        "unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
    )]
    BadSysctl { text: String },
    #[error("the container has a link named {name} already: choose another name")]
    InterfaceTaken { name: String },
    #[error("network option {name} is unimplemented")]
    UnknownOption { name: String },
    #[error("listen for names inside of a container")]
    Resolver { source: io::Error },
    #[error("read random bytes")]
    Random { source: io::Error },
    #[error(transparent)]
    Parent(#[from] ParentError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// Why a network cannot sit on its parent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParentError {
    #[error("-o parent interface was not found on the host: {name}")]
    NoParent { name: String },
    #[error("loopback interface is not a valid {driver} parent link")]
    LoopbackParent { driver: &'static str },
    #[error("network {other} is already using parent interface {parent}")]
    ParentInUse { other: String, parent: String },
    #[error("cannot use mode passthru, macvlan network {other} is already using parent interface {parent}")]
    NotAlone { other: String, parent: String },
    #[error("macvlan network {other} is already using parent interface {parent} in mode passthru")]
    OtherAlone { other: String, parent: String },
    #[error("invalid subinterface vlan name {name}, example formatting is eth0.10")]
    NoVlanName { name: String },
    #[error(
        "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {name}"
    )]
    VlanFormat { name: String },
    #[error("unable to parse a valid vlan id from: {text} (ex. eth0.10 for vlan 10)")]
    BadVlanId { text: String },
    #[error("vlan id must be between 1-4094, received: {id}")]
    VlanRange { id: i64 },
    #[error(
        "failed to create {name} vlan link: that needs a kernel with CONFIG_VLAN_8021Q, or a link of that name made before"
    )]
    NoVlan { name: String },
    #[error("driver {driver} without -o parent=LINK needs a kernel with CONFIG_DUMMY or CONFIG_IFB")]
    NoDummy { driver: &'static str },
}

impl Classify for ParentError {
    fn kind(&self) -> Kind {
        match self {
            Self::ParentInUse { .. } | Self::NotAlone { .. } | Self::OtherAlone { .. } => Kind::Forbidden,
            Self::NoVlan { .. } | Self::NoDummy { .. } => Kind::Unimplemented,
            Self::NoParent { .. }
            | Self::LoopbackParent { .. }
            | Self::NoVlanName { .. }
            | Self::VlanFormat { .. }
            | Self::BadVlanId { .. }
            | Self::VlanRange { .. } => Kind::Invalid,
        }
    }
}

impl Classify for NetworkError {
    fn kind(&self) -> Kind {
        match self {
            Self::PortInUse { .. } | Self::NameTaken { .. } => Kind::AlreadyExists,
            Self::Connected { .. }
            | Self::Predefined { .. }
            | Self::HasEndpoints { .. }
            | Self::ConfigOnly
            | Self::ConfigInUse { .. }
            | Self::PoolOverlaps { .. }
            | Self::SeveralSubnets
            | Self::AddressInUse { .. } => Kind::Forbidden,
            Self::NoNetwork { .. } | Self::NoConfig { .. } | Self::NoIpamDriver { .. } => Kind::NotFound,
            Self::UnknownOption { .. } | Self::NoKernelSupport { .. } | Self::NoDoor { .. } => {
                Kind::Unimplemented
            }
            Self::NoFreePool | Self::PoolEmpty { .. } | Self::BridgeFull { .. } => Kind::Exhausted,
            Self::NoIpv6 { .. }
            | Self::NoSctpRelay { .. }
            | Self::TooManyPorts { .. }
            | Self::AmbiguousNetwork { .. }
            | Self::PoolTooSmall { .. }
            | Self::NotInSubnet { .. }
            | Self::BadAddress { .. }
            | Self::BadRange { .. }
            | Self::NotChosen { .. }
            | Self::NoBridge { .. }
            | Self::BridgeTaken { .. }
            | Self::BadMode { .. }
            | Self::BadGatewayMode { .. }
            | Self::IsolatedNotInternal
            | Self::NoTruth { .. }
            | Self::NoIp { .. }
            | Self::NullPool
            | Self::NoPool { .. }
            | Self::NoFamily
            | Self::NotLinkLocal { .. }
            | Self::BadOption { .. }
            | Self::BadSysctl { .. }
            | Self::InterfaceTaken { .. } => Kind::Invalid,
            Self::Resolver { .. } | Self::Random { .. } => Kind::Internal,
            Self::NoSuchAddress { .. }
            | Self::BadId { .. }
            | Self::BadInstance { .. }
            | Self::SubnetTooSmall { .. } => Kind::Invalid,
            Self::NoFreeAddress { .. }
            | Self::NoFreeRange { .. }
            | Self::Thread { .. }
            | Self::NewNamespace { .. } => Kind::Exhausted,
            Self::RangeTaken { .. } | Self::OutsideSubnet { .. } => Kind::FailedPrecondition,
            Self::Namespace { source, .. } if source.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            Self::Reserve { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Kind::Forbidden
            }
            Self::State { source, .. } | Self::Relay { source, .. } => Kind::of_io(source),
            Self::Namespace { .. } | Self::Reserve { .. } => Kind::Internal,
            Self::Damaged { .. } => Kind::DataLoss,
            Self::Parent(error) => error.kind(),
            Self::Netlink(error) => error.kind(),
        }
    }
}

pub(crate) type Result<T, E = NetworkError> = std::result::Result<T, E>;
