//! Host ports kept from everybody else for as long as they are published.

use crate::attachment::{Protocol, PublishedPort};
use crate::claims::Claim;
use crate::error::{NetworkError, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, listen, socket_with, sockopt,
};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

/// Where the kernel has no sockets of SCTP, the ports that stand for "any".
const EPHEMERAL: RangeInclusive<u16> = 49153..=65535;

/// A bound socket: nobody else can bind the port. Packets do not reach it, the rules lead them elsewhere; those that no
/// rule can lead are relayed, see [`crate::Networks`].
#[derive(Debug)]
pub struct Reservation {
    /// Closing it gives the port back. Many kernels have no sockets of SCTP.
    socket: Option<OwnedFd>,
    /// Of SCTP.
    _claim: Option<Claim>,
    pub(crate) port: PublishedPort,
}

impl Reservation {
    /// Keeps a port of the host from everybody else until it is dropped; `container_port` does not matter.
    ///
    /// # Errors
    /// `AlreadyExists` naming the port if somebody has it.
    pub fn new(port: PublishedPort) -> hako_error::Result<Self> {
        Ok(reserve_one(port)?)
    }

    /// The socket, for who takes by hand what no rule leads past it. Of TCP it listens from now on.
    pub(crate) fn open(&self, backlog: i32) -> io::Result<OwnedFd> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        if self.port.protocol == Protocol::Tcp {
            // Connections inherit it: what is left of them does not keep the next owner out.
            sockopt::set_socket_reuseaddr(socket, true)?;
            listen(socket, backlog)?;
        }
        socket.try_clone()
    }

    /// The port, picked by the kernel if 0 was asked for.
    #[must_use]
    pub fn port(&self) -> PublishedPort {
        self.port
    }
}

/// Whether this machine has IPv6, to listen on at least.
#[must_use]
pub fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((std::net::Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Reserves all of `ports` or none.
pub(crate) fn reserve(ports: &[PublishedPort]) -> Result<Vec<Reservation>> {
    ports.iter().map(|port| reserve_one(*port)).collect()
}

pub(crate) fn reserve_one(port: PublishedPort) -> Result<Reservation> {
    if port.protocol == Protocol::Sctp {
        return reserve_sctp(port).map_err(|errno| refusal(&port, errno));
    }
    let bound = match bind_port(&port, false) {
        // What is left of connections of a process that is gone also blocks a port, though nobody has it: one
        // who listens passes those by, yet not a living owner.
        Err(Errno::ADDRINUSE) => bind_port(&port, true),
        other => other,
    };
    let (socket, picked) = bound.map_err(|errno| refusal(&port, errno))?;
    let port = PublishedPort { host_port: picked, ..port };
    Ok(Reservation { socket: Some(socket), _claim: None, port })
}

/// By a list of our own, and by a socket where the kernel has those: then others see it too.
fn reserve_sctp(port: PublishedPort) -> rustix::io::Result<Reservation> {
    // Whether there is such an address is asked by a socket that every kernel has.
    bind_port(&PublishedPort { host_port: 0, protocol: Protocol::Udp, ..port }, false)?;
    let candidates = if port.host_port == 0 { EPHEMERAL } else { port.host_port..=port.host_port };
    for host_port in candidates {
        let port = PublishedPort { host_port, ..port };
        let Some(claim) = Claim::take(port.host_ip, host_port)? else { continue };
        let socket = match bind_port(&port, false) {
            Ok((socket, _)) => Some(socket),
            Err(Errno::ADDRINUSE) => continue,
            Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) => None,
            Err(errno) => return Err(errno),
        };
        return Ok(Reservation { socket, _claim: Some(claim), port });
    }
    Err(Errno::ADDRINUSE)
}

fn bind_port(port: &PublishedPort, reuse: bool) -> rustix::io::Result<(OwnedFd, u16)> {
    let (kind, protocol) = match port.protocol {
        Protocol::Tcp => (SocketType::STREAM, None),
        Protocol::Udp | Protocol::Sctp if reuse => return Err(Errno::ADDRINUSE),
        Protocol::Udp => (SocketType::DGRAM, None),
        Protocol::Sctp => (SocketType::STREAM, Some(ipproto::SCTP)),
    };
    let family = if port.host_ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
    if port.host_ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if reuse {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(port.host_ip, port.host_port))?;
    if reuse {
        listen(&socket, 0)?;
    }
    let name = SocketAddr::try_from(getsockname(&socket)?).map_err(|_| Errno::AFNOSUPPORT)?;
    Ok((socket, name.port()))
}

fn refusal(port: &PublishedPort, errno: Errno) -> NetworkError {
    let (ip, protocol, port): (IpAddr, _, _) = (port.host_ip, port.protocol.as_str(), port.host_port);
    match errno {
        Errno::ADDRINUSE => NetworkError::PortInUse { ip, port, protocol },
        Errno::ADDRNOTAVAIL => NetworkError::NoSuchAddress { ip, port, protocol },
        errno => NetworkError::Reserve { ip, port, protocol, source: errno.into() },
    }
}
