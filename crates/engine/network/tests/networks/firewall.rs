//! Published ports and the rules of a host that has a firewall of its own.

use crate::host::{Sandbox, ask, ip, links, new_namespace, on_host, open_with, port, request};
use hako_netlink::{Links, Veth, in_namespace};
use hako_network::{Attach, Firewall, Network, NetworkConfig, NetworkRequest, Protocol, PublishedPort};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A machine beside the host: it is `192.0.N.2` and `fd00:N::2`, and knows the host as `.1`.
struct Neighbour {
    namespace: File,
    host: [IpAddr; 2],
}

impl Neighbour {
    fn new(n: u8) -> Self {
        let namespace = new_namespace();
        let name = format!("up{n}");
        let veth = Veth {
            name: &name,
            master: None,
            peer_name: "eth0",
            peer_mac: [2, 0, 0, 0, 9, n],
            peer_namespace: namespace.as_fd(),
            mtu: None,
        };
        let address = |last: u8| [ip(&format!("192.0.{n}.{last}")), ip(&format!("fd00:{n}::{last}"))];
        let set_up = |name: &str, last: u8| {
            let mut links = Links::open().unwrap();
            links.set_up(name).unwrap();
            let index = links.get(name).unwrap().index;
            let [v4, v6] = address(last);
            links.add_ip(index, v4, 24).unwrap();
            links.add_ip(index, v6, 64).unwrap();
        };
        Links::open().unwrap().create_veth(&veth).unwrap();
        in_namespace(namespace.as_fd(), || set_up("eth0", 2)).unwrap();
        set_up(&name, 1);
        let host = address(1);
        in_namespace(namespace.as_fd(), || host.iter().for_each(|ip| settle((*ip, 9)))).unwrap();
        Self { namespace, host }
    }

    fn ask(&self, port: u16) -> std::io::Result<String> {
        in_namespace(self.namespace.as_fd(), || ask((self.host[0], port))).unwrap()
    }

    fn ask_v6(&self, port: u16) -> std::io::Result<String> {
        in_namespace(self.namespace.as_fd(), || ask((self.host[1], port))).unwrap()
    }

    /// Answers every connection with the address it came from; a second time it is a success.
    fn serve(&self, port: u16) {
        let bound =
            in_namespace(self.namespace.as_fd(), || TcpListener::bind((ip("0.0.0.0"), port))).unwrap();
        let Ok(listener) = bound else { return };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let peer = stream.peer_addr().unwrap().ip().to_string();
                let _ = stream.write_all(peer.as_bytes());
            }
        });
    }

    fn pings(&self, ip: IpAddr) -> bool {
        let ping = || Command::new("busybox").args(["ping", "-c1", "-W1"]).arg(ip.to_string()).output();
        in_namespace(self.namespace.as_fd(), ping).unwrap().unwrap().status.success()
    }

    /// What comes back for a datagram, if anything does.
    fn send(&self, port: u16) -> Option<String> {
        in_namespace(self.namespace.as_fd(), || {
            let socket = UdpSocket::bind((ip("0.0.0.0"), 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            socket.connect((self.host[0], port)).unwrap();
            socket.send(b"who").unwrap();
            let mut answer = [0; 8];
            let len = socket.recv(&mut answer).ok()?;
            Some(String::from_utf8_lossy(&answer[..len]).into_owned())
        })
        .unwrap()
    }
}

/// Waits until somebody answers, be it by a refusal: a link that is new may lose its first packets.
fn settle(to: (IpAddr, u16)) {
    let start = Instant::now();
    loop {
        match TcpStream::connect_timeout(&to.into(), Duration::from_millis(200)) {
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => {}
            _ => return,
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nobody answers at {to:?}");
    }
}

/// What an administrator would write.
fn nft(rules: &str) {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{rules}");
}

fn ruleset() -> String {
    String::from_utf8(Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout).unwrap()
}

/// Drops all that comes in but what `accepts` say.
fn input_drops_but(accepts: &str) {
    nft(&format!(
        "table inet site\ndelete table inet site\n\
         table inet site {{ chain input {{ type filter hook input priority 0; policy drop;\n\
         iifname lo accept\nct state established,related accept\nmeta l4proto ipv6-icmp accept\n{accepts}\n}}\n}}\n"
    ));
}

fn tcp(ip: &str, host_port: u16) -> (PublishedPort, u16) {
    port(ip, host_port)
}

fn udp(host_port: u16) -> (PublishedPort, u16) {
    let (port, last) = port("0.0.0.0", host_port);
    (PublishedPort { protocol: Protocol::Udp, container_port: 81, ..port }, last)
}

#[test]
fn the_host_s_input_chain_decides_by_its_own_port_and_the_client_s_address() {
    on_host(|dir| {
        let (friend, stranger) = (Neighbour::new(1), Neighbour::new(2));
        let ports =
            [tcp("0.0.0.0", 8001), tcp("0.0.0.0", 8002), tcp("192.0.2.1", 8003), udp(8004), tcp("::", 8001)];
        input_drops_but(
            "tcp dport 8001 accept\nip saddr 192.0.1.2 tcp dport 8002 accept\nudp dport 8004 accept",
        );
        let start = || open_with(dir, Firewall::Host);
        let networks = start();
        let net = networks.create(NetworkRequest { ipv6: true, ..request("app") }).unwrap();
        let a = Sandbox::new("a");
        let addresses = a.connect(&networks, &net).unwrap().addresses;
        a.serve(ip("::"), 80);
        addresses.iter().for_each(|address| settle((address.ip, 80)));
        a.answer_datagrams(81);
        networks.publish("a", &ports).unwrap();
        let is_judged = |when: &str| {
            for (client, is) in [(&friend, "192.0.1.2"), (&stranger, "192.0.2.2")] {
                assert_eq!(client.ask(8001).unwrap(), format!("::ffff:{is}"), "{when}");
                assert_eq!(client.send(8004).as_deref(), Some("a"), "{when}");
            }
            assert_eq!(stranger.ask_v6(8001).unwrap(), "fd00:2::2", "{when}");
            assert_eq!(friend.ask(8002).unwrap(), "::ffff:192.0.1.2", "{when}");
            assert!(stranger.ask(8002).is_err() && stranger.ask(8003).is_err(), "{when}");
        };
        is_judged("at first");
        assert!(ask((ip("127.0.0.1"), 8003)).is_err(), "it is on one address");
        assert!(ask((ip("127.0.0.1"), 8002)).is_ok() && ask((ip("::1"), 8001)).is_ok(), "from the host");
        input_drops_but("ip daddr 192.0.2.1 tcp dport 8003 accept");
        assert!(stranger.ask(8003).is_ok() && stranger.ask(8001).is_err() && friend.send(8004).is_none());
        input_drops_but(
            "tcp dport 8001 accept\nip saddr 192.0.1.2 tcp dport 8002 accept\nudp dport 8004 accept",
        );
        drop(networks);
        let networks = start();
        is_judged("after a restart");
        drop(networks);
        let networks = open_with(dir, Firewall::Own);
        assert!(stranger.ask(8002).is_ok(), "who publishes opens");
        assert!(!links().iter().any(|name| name.starts_with("ho") || name.starts_with("hi")));
        assert!(!ruleset().contains("-door"));
        drop(networks);
        start().teardown().unwrap();
        let left = links();
        assert!(left.iter().all(|name| name == "lo" || name.starts_with("up")), "{left:?}");
        assert!(!ruleset().contains("hako"), "{}", ruleset());
    });
}

#[test]
fn networks_meet_by_published_ports_whatever_input_says() {
    on_host(|dir| {
        input_drops_but("");
        let networks = open_with(dir, Firewall::Host);
        let (net, other) =
            (networks.create(request("app")).unwrap(), networks.create(request("other")).unwrap());
        let (a, b) = (Sandbox::new("a"), Sandbox::new("b"));
        let at = [a.connect(&networks, &net).unwrap(), b.connect(&networks, &other).unwrap()];
        a.serve(ip("0.0.0.0"), 80);
        at.iter().for_each(|endpoint| settle((endpoint.v4().unwrap().ip, 80)));
        networks.publish("a", &[tcp("0.0.0.0", 8001)]).unwrap();
        for (who, net) in [(&a, &net), (&b, &other)] {
            assert!(who.ask((net.ipam[0].gateway.unwrap(), 8001)).is_ok(), "{}", who.id);
        }
        networks.teardown().unwrap();
    });
}

/// A pod that answers on port 80, which the host's `port` leads to.
fn pod(network: &Network, id: &str, port: u16) -> Sandbox {
    let sandbox = Sandbox::new(id);
    let netns = format!("/proc/self/fd/{}", sandbox.namespace.as_raw_fd()).into();
    let ports = vec![tcp("0.0.0.0", port).0];
    let attachment = network.attach(&Attach { id: id.to_owned(), netns, ports }).unwrap();
    sandbox.serve(ip("0.0.0.0"), 80);
    settle((attachment.ip.into(), 80));
    sandbox
}

fn pods(dir: &Path, firewall: Firewall) -> Network {
    let (instance, state_dir) = ("abc123".into(), dir.to_owned());
    let subnet = Some("10.244.0.0/24".parse().unwrap());
    Network::open(NetworkConfig { instance, state_dir, subnet, firewall }).unwrap()
}

#[test]
fn the_host_s_input_chain_decides_on_ports_of_pods_too() {
    on_host(|dir| {
        let (friend, stranger) = (Neighbour::new(1), Neighbour::new(2));
        input_drops_but("ip saddr 192.0.1.2 tcp dport 8001 accept");
        let networks = open_with(dir, Firewall::Host);
        let network = pods(dir, Firewall::Host);
        let net = networks.create(request("app")).unwrap();
        let a = Sandbox::new("a");
        let endpoint = a.connect(&networks, &net).unwrap();
        a.serve(ip("0.0.0.0"), 80);
        networks.publish("a", &[tcp("0.0.0.0", 8002)]).unwrap();
        let p = pod(&network, "p", 8001);
        let own = network.gateway();
        let is_judged = |when: &str| {
            assert_eq!(friend.ask(8001).unwrap(), "192.0.1.2", "{when}");
            assert!(stranger.ask(8001).is_err(), "{when}");
            assert!(ask((ip("127.0.0.1"), 8001)).is_ok(), "{when}: from the host");
            let gateway = endpoint.v4().unwrap().gateway.unwrap();
            assert!(a.ask((gateway, 8001)).is_ok(), "{when}: from a container");
            assert!(p.ask((own.into(), 8001)).is_ok(), "{when}: from itself");
            assert!(p.ask((gateway, 8002)).is_ok(), "{when}: the other way");
        };
        is_judged("at first");
        drop((networks, network));
        let networks = open_with(dir, Firewall::Host);
        let again = pods(dir, Firewall::Host);
        is_judged("after a restart");
        again.detach("p").unwrap();
        assert!(!ruleset().contains("8001 : "), "{}", ruleset());
        drop(networks);
        let networks = open_with(dir, Firewall::Own);
        assert!(!ruleset().contains("-door"), "{}", ruleset());
        let again = pods(dir, Firewall::Own);
        let _q = pod(&again, "q", 8003);
        assert!(stranger.ask(8003).is_ok(), "who publishes opens");
        again.teardown().unwrap();
        networks.teardown().unwrap();
        assert!(!ruleset().contains("hako"), "{}", ruleset());
    });
}

#[test]
fn a_forward_chain_that_drops_wins_and_is_named() {
    on_host(|dir| {
        let client = Neighbour::new(1);
        for firewall in [Firewall::Own, Firewall::Host] {
            let networks = open_with(dir, firewall);
            assert!(networks.warnings().unwrap().is_empty());
            let net = networks.create(request("app")).unwrap();
            let a = Sandbox::new("a");
            let at = a.connect(&networks, &net).unwrap();
            a.serve(ip("0.0.0.0"), 80);
            settle((at.v4().unwrap().ip, 80));
            networks.publish("a", &[tcp("0.0.0.0", 8001)]).unwrap();
            assert!(client.ask(8001).is_ok(), "{firewall:?}");
            nft("table ip site { chain FORWARD { type filter hook forward priority 0; policy drop; }; }");
            assert!(client.ask(8001).is_err(), "{firewall:?}");
            let warnings = networks.warnings().unwrap();
            assert!(matches!(&warnings[..], [one] if one.contains("ip site FORWARD")), "{warnings:?}");
            nft(&format!(
                "add rule ip site FORWARD oifname {} accept\nadd rule ip site FORWARD iifname {} accept",
                net.bridge, net.bridge
            ));
            assert!(client.ask(8001).is_ok(), "{firewall:?}");
            nft("delete table ip site");
            networks.release("a").unwrap();
            networks.remove(&net.id).unwrap();
            networks.teardown().unwrap();
        }
    });
}

#[test]
fn a_host_that_sends_by_loopback_only_reaches_ports_of_loopback_by_the_rules() {
    on_host(|dir| {
        let networks = open_with(dir, Firewall::Own);
        let net = networks.create(request("app")).unwrap();
        let a = Sandbox::new("a");
        let gateway = a.connect(&networks, &net).unwrap().v4().unwrap().gateway.unwrap();
        a.serve(ip("0.0.0.0"), 80);
        let here = ip("127.0.0.1");
        // What is translated keeps the source of loopback.
        let source = |host_port: u16| {
            let client = TcpStream::connect_timeout(&(here, host_port).into(), Duration::from_secs(5))?;
            client.local_addr().map(|address| address.ip())
        };
        networks.publish("a", &[tcp("127.0.0.1", 8001)]).unwrap();
        assert_eq!(source(8001).unwrap(), gateway);
        nft(
            "table ip site { chain OUTPUT { type filter hook output priority 0; policy drop; oif lo accept; }; }",
        );
        networks.publish("a", &[tcp("127.0.0.1", 8001), tcp("127.0.0.1", 8002)]).unwrap();
        assert_eq!(source(8002).unwrap(), here);
        assert_eq!(source(8001).unwrap(), here, "as are those that were led before");
        drop(networks);
        let networks = open_with(dir, Firewall::Own);
        assert_eq!(source(8001).unwrap(), here);
        nft("delete table ip site");
        drop(networks);
        let networks = open_with(dir, Firewall::Own);
        assert_eq!(source(8001).unwrap(), gateway);
        // What the host changes while ports are published counts soon.
        let becomes = |expected: IpAddr, rules: &str| {
            nft(rules);
            let start = Instant::now();
            while source(8001).ok() != Some(expected) {
                assert!(start.elapsed() < Duration::from_secs(20), "{rules}");
                std::thread::yield_now();
            }
        };
        becomes(
            here,
            "table inet site { chain OUTPUT { type filter hook output priority 0; policy drop; oif lo accept; }; }",
        );
        becomes(
            gateway,
            "table inet site { chain OUTPUT { type filter hook output priority 0; policy accept; }; }",
        );
        becomes(
            here,
            "table inet site { chain OUTPUT { type filter hook output priority 0; policy drop; }; }",
        );
        becomes(gateway, "delete table inet site");
        networks.teardown().unwrap();
    });
}

#[test]
fn members_go_out_by_the_address_that_the_network_names_and_its_gateway_may_be_somebody_else() {
    on_host(|dir| {
        let client = Neighbour::new(1);
        let mut links_here = Links::open().unwrap();
        let up = links_here.get("up1").unwrap().index;
        links_here.add_ip(up, ip("192.0.1.77"), 24).unwrap();
        let networks = open_with(dir, Firewall::Own);
        let option = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let named = option("com.docker.network.host_ipv4", "192.0.1.77");
        let net = networks.create(NetworkRequest { options: named, ..request("named") }).unwrap();
        let a = Sandbox::new("a");
        a.connect(&networks, &net).unwrap();
        client.serve(9000);
        assert_eq!(a.ask((ip("192.0.1.2"), 9000)).unwrap(), "192.0.1.77");
        let inhibited = option("com.docker.network.bridge.inhibit_ipv4", "true");
        let other = networks.create(NetworkRequest { options: inhibited, ..request("other") }).unwrap();
        let gateway = other.ipam[0].gateway.unwrap();
        let bound = |ip: IpAddr| TcpListener::bind((ip, 0)).is_ok();
        assert!(!bound(gateway) && bound(net.ipam[0].gateway.unwrap()), "the host is not at {gateway}");
        let b = Sandbox::new("b");
        assert_eq!(b.connect(&networks, &other).unwrap().v4().unwrap().gateway, Some(gateway));
        for (name, value, why) in [
            ("com.docker.network.host_ipv4", "fd00::1", "value: fd00::1 (nil ip)"),
            ("com.docker.network.bridge.enable_icc", "maybe", "strconv.ParseBool"),
        ] {
            let options = option(name, value);
            let refused = networks.create(NetworkRequest { options, ..request("bad") }).unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
        networks.teardown().unwrap();
    });
}

#[test]
fn members_are_reached_at_their_own_addresses_from_links_that_are_trusted() {
    on_host(|dir| {
        let (friend, stranger) = (Neighbour::new(1), Neighbour::new(2));
        for neighbour in [&friend, &stranger] {
            in_namespace(neighbour.namespace.as_fd(), || {
                let mut links = Links::open().unwrap();
                let link = links.get("eth0").unwrap().index;
                links.set_default_route(link, neighbour.host[0]).unwrap();
            })
            .unwrap();
        }
        let networks = open_with(dir, Firewall::Own);
        let trusted = ("com.docker.network.bridge.trusted_host_interfaces", "up9:up1");
        let options = BTreeMap::from([(trusted.0.to_owned(), trusted.1.to_owned())]);
        let net = networks.create(NetworkRequest { options, ..request("app") }).unwrap();
        let a = Sandbox::new("a");
        let at = a.connect(&networks, &net).unwrap().v4().unwrap().ip;
        [80, 81].into_iter().for_each(|port| a.serve(ip("0.0.0.0"), port));
        networks.publish("a", &[tcp("0.0.0.0", 8001)]).unwrap();
        let ask_at = |who: &Neighbour, port| in_namespace(who.namespace.as_fd(), || ask((at, port))).unwrap();
        assert_eq!(ask_at(&friend, 80).unwrap(), "192.0.1.2");
        assert!(ask_at(&friend, 81).is_err(), "it is not published");
        assert!(ask_at(&stranger, 80).is_err() && stranger.ask(8001).is_ok());
        networks.publish("a", &[]).unwrap();
        assert!(ask_at(&friend, 80).is_err());
        networks.teardown().unwrap();
    });
}

#[test]
fn members_of_routed_and_unprotected_networks_are_reached_at_their_own_addresses() {
    on_host(|dir| {
        let client = Neighbour::new(1);
        in_namespace(client.namespace.as_fd(), || {
            let mut links = Links::open().unwrap();
            let link = links.get("eth0").unwrap().index;
            links.set_default_route(link, client.host[0]).unwrap();
        })
        .unwrap();
        let networks = open_with(dir, Firewall::Own);
        for (mode, others) in [("nat", false), ("nat-unprotected", true), ("routed", false)] {
            let option = "com.docker.network.bridge.gateway_mode_ipv4".to_owned();
            let options = [(option, mode.to_owned())].into();
            let net = networks.create(NetworkRequest { options, ..request("app") }).unwrap();
            let a = Sandbox::new("a");
            let at = a.connect(&networks, &net).unwrap().v4().unwrap().ip;
            [80, 81].into_iter().for_each(|port| a.serve(ip("0.0.0.0"), port));
            settle((at, 80));
            networks.publish("a", &[tcp("0.0.0.0", 8001)]).unwrap();
            let ask_at = |port| in_namespace(client.namespace.as_fd(), || ask((at, port))).unwrap();
            assert_eq!(ask_at(80).is_ok(), mode != "nat", "{mode}");
            assert_eq!(ask_at(81).is_ok(), others, "{mode}");
            assert_eq!(client.ask(8001).is_ok(), mode != "routed", "{mode}");
            assert_eq!(client.pings(at), mode != "nat", "{mode}");
            client.serve(9000);
            let from =
                a.ask((client.host[0].to_string().replace(".1.1", ".1.2").parse().unwrap(), 9000)).unwrap();
            let own = if mode == "routed" { at } else { client.host[0] };
            assert_eq!(from, own.to_string(), "{mode}");
            networks.release("a").unwrap();
            networks.remove(&net.id).unwrap();
        }
        networks.teardown().unwrap();
    });
}
