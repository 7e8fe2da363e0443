//! Links, addresses, routes, nftables and connection tracking over netlink, without forking any program.
//!
//! Owns: the wire format and the sockets. Does not own: which links or rules exist and why.
//! Invariant: a call returns only after the kernel acknowledged the change or said why not.

mod ipv4_net;

pub use ipv4_net::{Ipv4Net, ParseIpv4NetError};
