//! The sockets of a sandbox's name server, bound inside its namespace by a thread that enters it.
//!
//! The server listens on some port of 127.0.0.11, and a table inside the namespace leads port 53 there: so a container
//! may have a name server of its own on port 53. The table goes with the namespace.

use crate::error::{NetworkError, Result};
use hako_netlink::in_namespace;
use hako_netlink::nft::{
    Batch, Chain, Comparison, Expression, Hook, HookPoint, HookType, Nat, Nft, Reg, Rule,
};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

/// Where a container's name server is.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

const TABLE: &str = "hako-resolver";
const PORT: u16 = 53;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Both ways to ask, not blocking.
#[derive(Debug)]
pub struct ResolverSockets {
    /// Datagrams.
    pub udp: UdpSocket,
    /// Connections.
    pub tcp: TcpListener,
}

/// Binds the sockets in the namespace, in place of those of a process before this.
///
/// # Errors
/// When the kernel refuses.
pub fn resolver_sockets(netns: &File) -> hako_error::Result<ResolverSockets> {
    Ok(bind(netns)?)
}

fn bind(netns: &File) -> Result<ResolverSockets> {
    let failed = |source| NetworkError::Resolver { source };
    in_namespace(netns.as_fd(), || {
        hako_netlink::Links::open()?.set_up("lo")?;
        let udp = UdpSocket::bind((RESOLVER, 0)).map_err(failed)?;
        let tcp = TcpListener::bind((RESOLVER, 0)).map_err(failed)?;
        udp.set_nonblocking(true).map_err(failed)?;
        tcp.set_nonblocking(true).map_err(failed)?;
        let ports = [
            (UDP, udp.local_addr().map_err(failed)?.port()),
            (TCP, tcp.local_addr().map_err(failed)?.port()),
        ];
        redirect(&ports)?;
        Ok(ResolverSockets { udp, tcp })
    })?
}

/// Leads questions to the ports given.
fn redirect(ports: &[(u8, u16)]) -> Result<()> {
    let mut batch = Batch::new(TABLE);
    batch.add_table().delete_table().add_table();
    let hook = Hook { kind: HookType::Nat, point: HookPoint::Output, priority: -100 };
    batch.add_chain(&Chain { name: "output", hook: Some(hook) });
    for (protocol, port) in ports {
        let asked = Rule::new()
            .ipv4()
            .destination(Comparison::Eq, hako_netlink::Ipv4Net::new(RESOLVER, 32))
            .transport(*protocol)
            .load_port(Reg(0))
            .then(Expression::Compare {
                reg: Reg(0),
                how: Comparison::Eq,
                with: PORT.to_be_bytes().to_vec(),
            });
        let [high, low] = port.to_be_bytes();
        let rule = asked
            .load_ip(RESOLVER, Reg(0))
            .then(Expression::Load { value: vec![high, low, 0, 0], to: Reg(1) })
            .then(Expression::Nat { which: Nat::Destination, address: Reg(0), port: Some(Reg(1)) });
        batch.add_rule("output", &rule);
    }
    Ok(Nft::open()?.commit(batch)?)
}
