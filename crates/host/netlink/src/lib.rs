//! Links, addresses, routes, nftables and connection tracking over netlink, without forking any program.
//!
//! Owns: the wire format and the sockets. Does not own: which links or rules exist and why.
//! Invariant: a call returns only after the kernel acknowledged the change or said why not.

mod conntrack;
mod error;
mod inet;
mod ip_net;
mod ipv4_net;
mod link;
mod message;
mod namespace;
pub mod nft;
mod route;
mod socket;
mod stacked;

pub use conntrack::{Connection, Conntrack, End, Filter, TcpState};
pub use error::{Errno, NetlinkError};
pub use ip_net::{IpNet, ParseIpNetError};
pub use ipv4_net::{Ipv4Net, ParseIpv4NetError};
pub use link::{Link, Links, Veth};
pub use namespace::in_namespace;
pub use route::{Address, Route, Scope};
pub use stacked::{Stacked, StackedLink};

/// What every call here returns.
pub type Result<T, E = NetlinkError> = std::result::Result<T, E>;
