//! Published ports that no rule can lead to a sandbox: carried by tasks of this process, on the port's own socket.
//!
//! These are ports on `::1`, which the kernel does not route off the host, and ports of a family that the sandbox has
//! no address of. There is no process for each; while this one is away they pause.
//! Invariant: what is relayed reaches the socket, since no rule has a key for it.

use super::spec::Endpoint;
use super::table::Table;
use crate::attachment::{Protocol, PublishedPort};
use crate::error::{NetworkError, Result};
use crate::ports::Reservation;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Connections and talks of all relayed ports together: each holds two descriptors.
const CONNECTIONS_MAX: usize = 8192;
/// How long a datagram's sender is remembered after the last answer, as Docker does.
const TALK: Duration = Duration::from_secs(90);
/// How long a connection to a sandbox may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a relay may take to end.
const PATIENCE: Duration = Duration::from_secs(1);
const BACKLOG: i32 = 1024;
const DATAGRAM_MAX: usize = 65_535;

#[derive(Debug)]
pub(super) struct Relays {
    /// Made with the first relay; most hosts need it at once, those without IPv6 never.
    runtime: Option<Runtime>,
    running: HashMap<String, Vec<Relay>>,
    room: Arc<Semaphore>,
}

impl Default for Relays {
    fn default() -> Self {
        Self { runtime: None, running: HashMap::new(), room: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.running.clear();
        // Waiting for its thread is not allowed everywhere.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One port that is carried; dropping it ends that, and the connections with it. The port is free again then.
#[derive(Debug)]
struct Relay {
    port: PublishedPort,
    /// `None` while the sandbox has no way out: who comes is sent away.
    target: Option<SocketAddr>,
    task: AbortHandle,
    /// Closed when the last of the tasks has let go of the socket.
    gone: Receiver<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        // Nobody sends: it ends with the tasks, which never block.
        let _ = self.gone.recv_timeout(PATIENCE);
    }
}

/// A socket whose end is told, after it was closed: the fields go in this order.
#[derive(Debug)]
struct Held<T> {
    socket: T,
    gone: Sender<()>,
}

impl<T> Held<T> {
    fn map<U>(self, to: impl FnOnce(T) -> std::io::Result<U>) -> std::io::Result<Held<U>> {
        Ok(Held { socket: to(self.socket)?, gone: self.gone })
    }
}

/// Where a port's packets go if it takes a relay; `None` if rules lead them.
fn wanted(port: &PublishedPort, gateway: Option<&Endpoint>) -> Option<Option<SocketAddr>> {
    let (v4, v6) = (gateway.and_then(Endpoint::v4), gateway.and_then(Endpoint::v6));
    if port.protocol == Protocol::Sctp {
        // See [`super::publish`]: what rules cannot lead is not published.
        return None;
    }
    let (own, other) = if port.host_ip.is_ipv6() { (v6, v4) } else { (v4, v6) };
    if own.is_some() && !takes_loopback(port.host_ip) {
        return None;
    }
    Some(own.or(other).map(|address| SocketAddr::new(address.ip, port.container_port)))
}

/// Whether packets to `::1` come by this address.
fn takes_loopback(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unspecified() || ip == Ipv6Addr::LOCALHOST)
}

impl Relays {
    /// Carries what the sandbox's ports need now, and nothing else of it; what stays the same is not touched.
    pub(super) fn update(&mut self, table: &Table, sandbox: &str, ports: &[Reservation]) -> Result<()> {
        let member = table.member(sandbox).cloned().unwrap_or_default();
        let gateway = table.gateway(&member);
        let mut old = self.running.remove(sandbox).unwrap_or_default();
        let mut new = Vec::new();
        for reservation in ports {
            let Some(target) = wanted(&reservation.port, gateway) else { continue };
            let same = old.iter().position(|relay| relay.port == reservation.port && relay.target == target);
            new.push(match same {
                Some(at) => old.swap_remove(at),
                None => self.start(reservation, target)?,
            });
        }
        drop(old);
        if !new.is_empty() {
            self.running.insert(sandbox.to_owned(), new);
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.running.clear();
    }

    fn start(&mut self, reservation: &Reservation, target: Option<SocketAddr>) -> Result<Relay> {
        let port = reservation.port;
        let failed = |source| NetworkError::Relay { ip: port.host_ip, port: port.host_port, source };
        let socket = reservation.open(BACKLOG).map_err(failed)?;
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("relay")
                .enable_all()
                .build()
                .map_err(failed)?,
        };
        let runtime = self.runtime.insert(runtime);
        let (gone, ended) = channel();
        let held = Held { socket, gone };
        let task = spawn(runtime, port.protocol, held, target, Arc::clone(&self.room)).map_err(failed)?;
        Ok(Relay { port, target, task, gone: ended })
    }
}

fn spawn(
    runtime: &Runtime,
    protocol: Protocol,
    held: Held<OwnedFd>,
    target: Option<SocketAddr>,
    room: Arc<Semaphore>,
) -> std::io::Result<AbortHandle> {
    let _inside = runtime.enter();
    let task = match protocol {
        Protocol::Tcp => {
            let listener = held.map(|socket| {
                let listener = std::net::TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            })?;
            runtime.spawn(accept(listener, target, room))
        }
        Protocol::Udp => {
            let socket = held.map(|socket| {
                let socket = std::net::UdpSocket::from(socket);
                socket.set_nonblocking(true)?;
                UdpSocket::from_std(socket)
            })?;
            runtime.spawn(talk(Arc::new(socket), target, room))
        }
        Protocol::Sctp => return Err(std::io::ErrorKind::Unsupported.into()),
    };
    Ok(task.abort_handle())
}

/// Ends with the relay, and all connections of it with it.
async fn accept(listener: Held<TcpListener>, target: Option<SocketAddr>, room: Arc<Semaphore>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match (listener.socket.accept().await, target) {
            (Ok((stream, _)), Some(target)) => {
                connections.spawn(async move {
                    carry(stream, target).await;
                    drop(place);
                });
            }
            (Ok(_), None) => {}
            // Out of descriptors, or the client went away again: the next may be luckier, a moment later.
            (Err(_), _) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr) {
    let Ok(Ok(mut server)) = timeout(CONNECT, TcpStream::connect(target)).await else { return };
    // A delay is the talkers' own choice, not ours.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // How a connection ends is told to both ends by their own sockets.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

type Talks = Arc<Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>>;

/// Carries datagrams: each sender gets a socket of its own towards the sandbox, whose answers go back.
async fn talk(held: Arc<Held<UdpSocket>>, target: Option<SocketAddr>, room: Arc<Semaphore>) {
    let talks = Talks::default();
    let mut answers = tokio::task::JoinSet::new();
    let mut datagram = vec![0; DATAGRAM_MAX];
    loop {
        while answers.try_join_next().is_some() {}
        // An error tells of an earlier datagram that nobody took.
        let Ok((len, from)) = held.socket.recv_from(&mut datagram).await else { continue };
        let Some(target) = target else { continue };
        let known = talks.lock().get(&from).cloned();
        let server = match known {
            Some(server) => server,
            None => {
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
                let Ok(server) = connected(target).await else { continue };
                talks.lock().insert(from, Arc::clone(&server));
                let answer = answer(Arc::clone(&held), Arc::clone(&server), from);
                let talks = Arc::clone(&talks);
                answers.spawn(async move {
                    answer.await;
                    talks.lock().remove(&from);
                    drop(place);
                });
                server
            }
        };
        // A datagram may be lost.
        let _ = server.send(&datagram[..len]).await;
    }
}

async fn connected(target: SocketAddr) -> std::io::Result<Arc<UdpSocket>> {
    let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(target).await?;
    Ok(Arc::new(socket))
}

/// Until the sandbox is silent for long, or nobody takes datagrams there.
async fn answer(held: Arc<Held<UdpSocket>>, server: Arc<UdpSocket>, client: SocketAddr) {
    let mut datagram = vec![0; DATAGRAM_MAX];
    while let Ok(Ok(len)) = timeout(TALK, server.recv(&mut datagram)).await {
        let _ = held.socket.send_to(&datagram[..len], client).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::EndpointAddress;
    use super::*;

    fn endpoint(ips: &[&str]) -> Endpoint {
        let address = |ip: &&str| EndpointAddress { ip: ip.parse().unwrap(), prefix: 24, gateway: None };
        Endpoint {
            network: String::new(),
            id: String::new(),
            interface: String::new(),
            link: String::new(),
            mac: String::new(),
            addresses: ips.iter().map(address).collect(),
            names: Vec::new(),
            links: Vec::new(),
            priority: 0,
            link_local: Vec::new(),
        }
    }

    #[test]
    fn what_rules_can_lead_is_not_relayed() {
        let (both, four, six) =
            (endpoint(&["172.18.0.2", "fd00::2"]), endpoint(&["172.18.0.2"]), endpoint(&["fd00::2"]));
        let port = |ip: &str| PublishedPort {
            host_ip: ip.parse().unwrap(),
            host_port: 8080,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let to = |target: &str| Some(Some(target.parse::<SocketAddr>().unwrap()));
        for (ip, endpoint, expected) in [
            ("0.0.0.0", &both, None),
            ("127.0.0.1", &four, None),
            ("0.0.0.0", &six, to("[fd00::2]:80")),
            ("::", &both, to("[fd00::2]:80")),
            ("::", &four, to("172.18.0.2:80")),
            ("::1", &both, to("[fd00::2]:80")),
            ("::1", &four, to("172.18.0.2:80")),
            ("2001:db8::1", &both, None),
            ("2001:db8::1", &four, to("172.18.0.2:80")),
        ] {
            assert_eq!(wanted(&port(ip), Some(endpoint)), expected, "{ip} {:?}", endpoint.addresses);
        }
        assert_eq!(wanted(&port("::1"), None), Some(None));
    }
}
