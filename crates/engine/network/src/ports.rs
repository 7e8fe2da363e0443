//! Host ports kept from everybody else for as long as they are published.

use crate::attachment::{Protocol, PublishedPort};
use crate::error::{NetworkError, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

/// A bound socket: nobody else can bind the port. Packets do not reach it, the rules lead them elsewhere; those that no
/// rule can lead are relayed, see [`crate::Networks`].
#[derive(Debug)]
pub struct Reservation {
    /// Closing it gives the port back.
    socket: OwnedFd,
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
        if self.port.protocol == Protocol::Tcp {
            // Connections inherit it: what is left of them does not keep the next owner out.
            sockopt::set_socket_reuseaddr(&self.socket, true)?;
            listen(&self.socket, backlog)?;
        }
        self.socket.try_clone()
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
    let bound = match bind_port(&port, false) {
        // What is left of connections of a process that is gone also blocks a port, though nobody has it: one
        // who listens passes those by, yet not a living owner.
        Err(Errno::ADDRINUSE) => bind_port(&port, true),
        other => other,
    };
    let (socket, picked) = bound.map_err(|errno| refusal(&port, errno))?;
    Ok(Reservation { socket, port: PublishedPort { host_port: picked, ..port } })
}

fn bind_port(port: &PublishedPort, reuse: bool) -> rustix::io::Result<(OwnedFd, u16)> {
    let kind = match port.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp if reuse => return Err(Errno::ADDRINUSE),
        Protocol::Udp => SocketType::DGRAM,
    };
    let family = if port.host_ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
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
