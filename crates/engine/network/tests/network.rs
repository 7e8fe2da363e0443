//! The network on a real kernel: every test has a namespace of its own as "the host".
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

use hako_error::Kind;
use hako_netlink::{Links, in_namespace, nft::Nft};
use hako_network::{Attach, Attachment, Firewall, Network, NetworkConfig, Protocol, PublishedPort};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn new_namespace() -> File {
    let make = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    std::thread::spawn(make).join().unwrap()
}

/// Runs a test with a fresh namespace as the host, `lo` being up.
fn on_host<T: Send>(test: impl FnOnce(&Path) -> T + Send) -> T {
    let dir = tempfile::tempdir().unwrap();
    in_namespace(new_namespace().as_fd(), || {
        Links::open().unwrap().set_up("lo").unwrap();
        test(dir.path())
    })
    .unwrap()
}

fn open(dir: &Path) -> Network {
    let subnet = Some("10.244.0.0/24".parse().unwrap());
    let (instance, state_dir, firewall) = ("abc123".into(), dir.to_owned(), Firewall::Own);
    Network::open(NetworkConfig { instance, state_dir, subnet, firewall }).unwrap()
}

fn netns(namespace: &File) -> PathBuf {
    format!("/proc/self/fd/{}", namespace.as_raw_fd()).into()
}

fn publish(host_ip: Ipv4Addr, host_port: u16, container_port: u16) -> PublishedPort {
    PublishedPort { host_ip: host_ip.into(), host_port, container_port, protocol: Protocol::Tcp }
}

struct Pod {
    namespace: File,
    attachment: Attachment,
}

fn attach(network: &Network, id: &str, ports: Vec<PublishedPort>) -> Pod {
    let namespace = new_namespace();
    let request = Attach { id: id.into(), netns: netns(&namespace), ports };
    let attachment = network.attach(&request).unwrap();
    Pod { namespace, attachment }
}

impl Pod {
    /// Answers every connection with the address it came from.
    fn serve(&self, port: u16) {
        let listener =
            in_namespace(self.namespace.as_fd(), || TcpListener::bind((ANY, port)).unwrap()).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let peer = stream.peer_addr().unwrap().ip().to_string();
                let _ = stream.write_all(peer.as_bytes());
            }
        });
    }

    fn ask(&self, to: (Ipv4Addr, u16)) -> String {
        in_namespace(self.namespace.as_fd(), || ask(to).unwrap()).unwrap()
    }
}

fn ask(to: (Ipv4Addr, u16)) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(to), Duration::from_secs(3))?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn links() -> Vec<String> {
    Links::open().unwrap().list().unwrap().into_iter().map(|link| link.name).collect()
}

#[test]
fn sandboxes_reach_each_other_and_the_host_reaches_them_keeping_addresses() {
    on_host(|dir| {
        let network = open(dir);
        let (a, b) = (attach(&network, "a", vec![]), attach(&network, "b", vec![]));
        b.serve(80);
        assert_eq!(a.ask((b.attachment.ip, 80)), a.attachment.ip.to_string());
        assert_eq!(ask((b.attachment.ip, 80)).unwrap(), network.gateway().to_string());
        assert_eq!(a.attachment.gateway, network.gateway());
        network.teardown().unwrap();
    });
}

#[test]
fn published_ports_lead_in_from_loopback_the_gateway_other_sandboxes_and_the_sandbox_itself() {
    on_host(|dir| {
        let network = open(dir);
        let a = attach(&network, "a", vec![publish(ANY, 0, 80), publish(Ipv4Addr::LOCALHOST, 0, 80)]);
        let b = attach(&network, "b", vec![]);
        a.serve(80);
        let gateway = network.gateway();
        let [everywhere, local] = [a.attachment.ports[0].host_port, a.attachment.ports[1].host_port];
        assert!(everywhere != 0 && local != 0);
        assert_eq!(ask((Ipv4Addr::LOCALHOST, everywhere)).unwrap(), gateway.to_string());
        assert_eq!(ask((Ipv4Addr::LOCALHOST, local)).unwrap(), gateway.to_string());
        assert_eq!(ask((gateway, everywhere)).unwrap(), gateway.to_string());
        assert!(ask((gateway, local)).is_err());
        assert_eq!(b.ask((gateway, everywhere)), b.attachment.ip.to_string());
        assert_eq!(a.ask((gateway, everywhere)), gateway.to_string());
        network.detach("a").unwrap();
        assert!(ask((Ipv4Addr::LOCALHOST, everywhere)).is_err());
    });
}

#[test]
fn traffic_that_leaves_the_subnet_takes_the_hosts_address() {
    on_host(|dir| {
        let network = open(dir);
        let a = attach(&network, "a", vec![]);
        let outside = new_namespace();
        let mut links = Links::open().unwrap();
        links
            .create_veth(&hako_netlink::Veth {
                name: "up0",
                master: None,
                peer_name: "eth0",
                peer_mac: [2, 0, 0, 0, 0, 9],
                peer_namespace: outside.as_fd(),
                mtu: None,
            })
            .unwrap();
        let here = links.get("up0").unwrap().index;
        links
            .add_address(hako_netlink::Address { link: here, ip: [198, 51, 100, 1].into(), prefix: 24 })
            .unwrap();
        let mut there = Links::open_in(outside.as_fd()).unwrap();
        there.set_up("eth0").unwrap();
        let link = there.get("eth0").unwrap().index;
        there.add_address(hako_netlink::Address { link, ip: [198, 51, 100, 2].into(), prefix: 24 }).unwrap();
        let server = Pod { namespace: outside, attachment: a.attachment.clone() };
        server.serve(80);
        assert_eq!(a.ask(([198, 51, 100, 2].into(), 80)), "198.51.100.1");
    });
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_left() {
    on_host(|dir| {
        let network = open(dir);
        let taken = TcpListener::bind((ANY, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let namespace = new_namespace();
        let request =
            Attach { id: "a".into(), netns: netns(&namespace), ports: vec![publish(ANY, port, 80)] };
        let error = network.attach(&request).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists);
        assert!(error.to_string().contains(&format!("port {port}/tcp")), "{error}");
        assert!(network.get("a").is_none());
        assert_eq!(links().iter().filter(|name| name.starts_with("hv")).count(), 0);
        let other = attach(&network, "b", vec![publish(ANY, 0, 80)]);
        let mine = other.attachment.ports[0].host_port;
        assert!(TcpListener::bind((ANY, mine)).is_err(), "a published port is reserved");
    });
}

#[test]
fn attaching_again_changes_nothing_and_a_new_namespace_moves_it() {
    on_host(|dir| {
        let network = open(dir);
        let a = attach(&network, "a", vec![publish(ANY, 0, 80)]);
        let request = Attach { id: "a".into(), netns: netns(&a.namespace), ports: vec![publish(ANY, 0, 80)] };
        assert_eq!(network.attach(&request).unwrap(), a.attachment);
        let moved = attach(&network, "a", vec![publish(ANY, 0, 80)]);
        moved.serve(80);
        assert_eq!(
            ask((moved.attachment.ip, 80)).unwrap(),
            network.gateway().to_string(),
            "the moved sandbox answers"
        );
    });
}

#[test]
fn after_a_restart_what_is_used_stays_and_the_rest_goes() {
    on_host(|dir| {
        let network = open(dir);
        let a = attach(&network, "a", vec![publish(ANY, 0, 80)]);
        let b = attach(&network, "b", vec![publish(ANY, 0, 81)]);
        a.serve(80);
        drop(network);
        let port = (Ipv4Addr::LOCALHOST, a.attachment.ports[0].host_port);
        assert!(ask(port).is_ok(), "published ports work without the daemon");
        // A crash between record and link leaves a link that no record speaks of.
        std::fs::remove_file(dir.join("attachments/b.json")).unwrap();
        let network = open(dir);
        assert!(ask(port).is_ok());
        let c = attach(&network, "c", vec![]);
        assert_ne!(c.attachment.ip, b.attachment.ip);
        assert_eq!(network.adopt(&["a".into()]).unwrap(), ["c"]);
        assert_eq!(network.get("a").as_ref(), Some(&a.attachment));
        assert_eq!(
            links().into_iter().filter(|name| name.starts_with("hv")).collect::<Vec<_>>(),
            [a.attachment.link]
        );
        assert!(ask(port).is_ok());
    });
}

#[test]
fn teardown_leaves_nothing() {
    on_host(|dir| {
        let network = open(dir);
        let _pods: Vec<_> =
            (0..3).map(|n| attach(&network, &n.to_string(), vec![publish(ANY, 0, 80)])).collect();
        network.teardown().unwrap();
        assert_eq!(links().into_iter().filter(|name| name.starts_with('h')).count(), 0);
        assert_eq!(Nft::open().unwrap().tables("").unwrap(), Vec::<String>::new());
        assert!(!dir.join("attachments").exists());
    });
}

#[test]
fn cve_2020_8558_a_sandbox_cannot_reach_the_hosts_loopback() {
    on_host(|dir| {
        let network = open(dir);
        let a = attach(&network, "a", vec![]);
        let host = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        host.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let port = host.local_addr().unwrap().port();
        in_namespace(a.namespace.as_fd(), || {
            // As a hostile sandbox would: loopback leads to the gateway.
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
            let run = |args: &[&str]| std::process::Command::new("ip").args(args).status().unwrap();
            run(&["rule", "add", "pref", "0", "to", "127.0.0.0/8", "lookup", "7"]);
            run(&["rule", "del", "pref", "0", "lookup", "local"]);
            run(&["rule", "add", "pref", "1", "lookup", "local"]);
            run(&["route", "add", "127.0.0.0/8", "via", "10.244.0.1", "dev", "eth0", "onlink", "table", "7"]);
            let socket = UdpSocket::bind((a.attachment.ip, 0)).unwrap();
            let _ = socket.send_to(b"x", (Ipv4Addr::LOCALHOST, port));
        })
        .unwrap();
        assert!(host.recv_from(&mut [0; 8]).is_err());
    });
}

#[test]
fn many_attach_at_once() {
    on_host(|dir| {
        let network = open(dir);
        let pods: Vec<Pod> = std::thread::scope(|scope| {
            let network = &network;
            let threads: Vec<_> =
                (0..20).map(|n| scope.spawn(move || attach(network, &n.to_string(), vec![]))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut ips: Vec<_> = pods.iter().map(|pod| pod.attachment.ip).collect();
        ips.sort();
        ips.dedup();
        assert_eq!(ips.len(), 20);
        let started = Instant::now();
        let namespaces: Vec<_> = (0..20).map(|_| new_namespace()).collect();
        let made = Instant::now();
        for (n, namespace) in namespaces.iter().enumerate() {
            network.attach(&Attach { id: format!("t{n}"), netns: netns(namespace), ports: vec![] }).unwrap();
        }
        println!("attach: {:?} each (namespaces {:?})", made.elapsed() / 20, (made - started) / 20);
        let detaching = Instant::now();
        for n in 0..20 {
            network.detach(&format!("t{n}")).unwrap();
        }
        println!("detach: {:?} each", detaching.elapsed() / 20);
    });
}
