//! A namespace as "the host", and sandboxes in it.

use hako_netlink::{Links, in_namespace};
use hako_network::{
    Connect, Driver, Endpoint, Firewall, NetworkRequest, NetworkSpec, Networks, NetworksConfig, Protocol,
    PublishedPort, default_pools,
};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

pub(crate) fn new_namespace() -> File {
    let make = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    std::thread::spawn(make).join().unwrap()
}

/// Runs a test with a fresh namespace as the host, `lo` being up.
pub(crate) fn on_host<T: Send>(test: impl FnOnce(&Path) -> T + Send) -> T {
    let dir = tempfile::tempdir().unwrap();
    in_namespace(new_namespace().as_fd(), || {
        Links::open().unwrap().set_up("lo").unwrap();
        test(dir.path())
    })
    .unwrap()
}

pub(crate) fn open(dir: &Path) -> Networks {
    open_with(dir, Firewall::Own)
}

pub(crate) fn open_with(dir: &Path, firewall: Firewall) -> Networks {
    let (instance, state_dir) = ("abc123".into(), dir.to_owned());
    Networks::open(NetworksConfig { instance, state_dir, pools: default_pools(), firewall }).unwrap()
}

pub(crate) fn request(name: &str) -> NetworkRequest {
    NetworkRequest { name: name.to_owned(), driver: Driver::Bridge, ipv4: true, ..NetworkRequest::default() }
}

pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) namespace: File,
}

impl Sandbox {
    pub(crate) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), namespace: new_namespace() }
    }

    pub(crate) fn connect(&self, networks: &Networks, net: &NetworkSpec) -> hako_error::Result<Endpoint> {
        self.connect_with(networks, net, &[])
    }

    pub(crate) fn connect_with(
        &self,
        networks: &Networks,
        net: &NetworkSpec,
        options: &[(&str, &str)],
    ) -> hako_error::Result<Endpoint> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        networks.connect(&Connect { options, ..self.place(net) })
    }

    /// A request for any place in a network.
    pub(crate) fn place<'a>(&'a self, net: &'a NetworkSpec) -> Connect<'a> {
        Connect {
            network: &net.id,
            sandbox: &self.id,
            netns: &self.namespace,
            ip4: None,
            ip6: None,
            link_local: Vec::new(),
            mac: None,
            names: vec![self.id.clone()],
            links: Vec::new(),
            priority: 0,
            options: BTreeMap::new(),
            ahead: None,
        }
    }

    /// Answers every connection with the address it came from.
    pub(crate) fn serve(&self, ip: IpAddr, port: u16) {
        let listener =
            in_namespace(self.namespace.as_fd(), || TcpListener::bind((ip, port)).unwrap()).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let peer = stream.peer_addr().unwrap().ip().to_string();
                let _ = stream.write_all(peer.as_bytes());
            }
        });
    }

    /// Answers every datagram with its own name.
    pub(crate) fn answer_datagrams(&self, port: u16) {
        let name = self.id.clone();
        let bind = || UdpSocket::bind((ip("0.0.0.0"), port)).unwrap();
        let socket = in_namespace(self.namespace.as_fd(), bind).unwrap();
        std::thread::spawn(move || {
            let mut question = [0; 8];
            while let Ok((_, client)) = socket.recv_from(&mut question) {
                let _ = socket.send_to(name.as_bytes(), client);
            }
        });
    }

    pub(crate) fn ask(&self, to: (IpAddr, u16)) -> std::io::Result<String> {
        in_namespace(self.namespace.as_fd(), || ask(to)).unwrap()
    }
}

pub(crate) fn ask(to: (IpAddr, u16)) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(to), Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn port(host_ip: &str, host_port: u16) -> (PublishedPort, u16) {
    (PublishedPort { host_ip: ip(host_ip), host_port, container_port: 80, protocol: Protocol::Tcp }, 0)
}

pub(crate) fn links() -> HashSet<String> {
    Links::open().unwrap().list().unwrap().into_iter().map(|link| link.name).collect()
}
