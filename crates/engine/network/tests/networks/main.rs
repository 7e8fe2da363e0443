//! Networks that people make on a real kernel: every test has a namespace of its own as "the host".
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

mod ahead;
mod firewall;
mod host;

use hako_error::Kind;
use hako_netlink::{Links, in_namespace, nft::Nft};
use hako_network::{Connect, Driver, Ipam, NetworkRequest, NetworkSpec, Networks, Protocol, PublishedPort};
use host::{Sandbox, ask, ip, links, new_namespace, on_host, open, port, request};
use rustix::net::{AddressFamily, SocketType};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

#[test]
fn ports_are_changed_while_connections_go_on() {
    on_host(|dir| {
        let networks = open(dir);
        let net = networks.create(request("app")).unwrap();
        let a = Sandbox::new("a");
        let endpoint = a.connect(&networks, &net).unwrap();
        a.serve(ip("0.0.0.0"), 80);
        let first = networks.publish("a", &[port("0.0.0.0", 0)]).unwrap()[0];
        let here = ip("127.0.0.1");
        assert!(ask((here, first.host_port)).is_ok());
        let both = networks.publish("a", &[port("0.0.0.0", first.host_port), port("127.0.0.1", 0)]).unwrap();
        assert_eq!(both[0], first);
        assert!(ask((here, first.host_port)).is_ok() && ask((here, both[1].host_port)).is_ok());
        let taken = TcpListener::bind((here, 0)).unwrap();
        let busy = taken.local_addr().unwrap().port();
        let refused = networks.publish("a", &[port("0.0.0.0", busy)]).unwrap_err();
        assert_eq!(refused.kind(), Kind::AlreadyExists);
        assert!(ask((here, first.host_port)).is_ok(), "nothing has changed");
        networks.publish("a", &[]).unwrap();
        assert!(ask((here, first.host_port)).is_err());
        let range = (PublishedPort { host_port: busy, ..first }, busy + 20);
        let picked = networks.publish("a", &[range]).unwrap()[0].host_port;
        assert!(picked > busy && picked <= busy + 20);
        assert_eq!(a.ask((endpoint.v4().unwrap().gateway.unwrap(), picked)).unwrap(), net_gateway(&net));
        networks.publish("a", &[]).unwrap();
        assert!(ask((here, picked)).is_err());
        networks.teardown().unwrap();
    });
}

fn net_gateway(net: &NetworkSpec) -> String {
    net.ipam[0].gateway.unwrap().to_string()
}

#[test]
fn a_port_of_loopback_is_reached_by_the_short_way_and_by_the_rules() {
    on_host(|dir| {
        let networks = open(dir);
        let net = networks.create(request("app")).unwrap();
        let a = Sandbox::new("a");
        let gateway = a.connect(&networks, &net).unwrap().v4().unwrap().gateway.unwrap();
        a.serve(ip("0.0.0.0"), 80);
        let granted = networks.publish("a", &[port("127.0.0.1", 0)]).unwrap()[0];
        let asked = SocketAddr::new(granted.host_ip, granted.host_port);
        // What is translated later keeps the source of loopback.
        let source = || {
            let client = TcpStream::connect(asked).unwrap();
            assert_eq!(client.peer_addr().unwrap(), asked);
            client.local_addr().unwrap().ip()
        };
        assert_eq!(source(), gateway);
        assert_eq!(ask((granted.host_ip, granted.host_port)).unwrap(), gateway.to_string());
        let client = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&client, &SocketAddr::new(granted.host_ip, 0)).unwrap();
        rustix::net::connect(&client, &asked).unwrap();
        assert_eq!(TcpStream::from(client).local_addr().unwrap().ip(), granted.host_ip);
        drop(networks);
        assert_eq!(source(), granted.host_ip, "while no daemon is there the rules lead");
        let networks = open(dir);
        assert_eq!(source(), gateway, "the next one finds it recorded");
        networks.publish("a", &[]).unwrap();
        assert!(TcpStream::connect(asked).is_err());
        networks.teardown().unwrap();
    });
}

#[test]
fn ipv6_reaches_neighbours_the_host_and_published_ports() {
    on_host(|dir| {
        let networks = open(dir);
        let subnet = "fd00:7::/64".parse().unwrap();
        let ipam = Ipam { subnet, gateway: None, range: None, aux: BTreeMap::new(), chosen: true };
        let six = NetworkRequest { ipv6: true, ipam: vec![ipam], ..request("six") };
        let net = networks.create(six).unwrap();
        let (a, b) = (Sandbox::new("a"), Sandbox::new("b"));
        let (at_a, at_b) = (a.connect(&networks, &net).unwrap(), b.connect(&networks, &net).unwrap());
        assert_eq!(at_a.v6().unwrap().ip, ip("fd00:7::2"));
        b.serve(ip("::"), 80);
        assert_eq!(a.ask((at_b.v6().unwrap().ip, 80)).unwrap(), "fd00:7::2");
        assert_eq!(ask((at_b.v6().unwrap().ip, 80)).unwrap(), "fd00:7::1");
        let granted = networks.publish("b", &[port("::", 0)]).unwrap()[0];
        assert!(ask((ip("fd00:7::1"), granted.host_port)).is_ok());
        assert_eq!(a.ask((ip("fd00:7::1"), granted.host_port)).unwrap(), "fd00:7::1");
        assert_eq!(ask((ip("::1"), granted.host_port)).unwrap(), "fd00:7::1", "by relay");
        networks.teardown().unwrap();
    });
}

#[test]
fn ports_lead_from_either_family_to_a_sandbox_of_one_and_from_both_loopbacks() {
    on_host(|dir| {
        let networks = open(dir);
        let net = networks.create(request("four")).unwrap();
        let six = NetworkRequest { ipv4: false, ipv6: true, ..request("six") };
        let six = networks.create(six).unwrap();
        let (a, b) = (Sandbox::new("a"), Sandbox::new("b"));
        let at_a = a.connect(&networks, &net).unwrap().v4().unwrap();
        b.connect(&networks, &six).unwrap();
        a.serve(ip("0.0.0.0"), 80);
        b.serve(ip("::"), 80);
        let granted = networks.publish("a", &[port("0.0.0.0", 0), port("::", 0), port("::1", 0)]).unwrap();
        assert_eq!(granted[0].host_port, granted[1].host_port, "one number for both families");
        let gateway = at_a.gateway.unwrap().to_string();
        for (to, port) in [("127.0.0.1", 0), ("::1", 1), ("::1", 2)] {
            assert_eq!(ask((ip(to), granted[port].host_port)).unwrap(), gateway, "{to}");
        }
        let four = networks.publish("b", &[port("127.0.0.1", 0)]).unwrap()[0].host_port;
        assert!(ask((ip("127.0.0.1"), four)).is_ok());
        drop(networks);
        let networks = open(dir);
        assert!(ask((ip("::1"), granted[2].host_port)).is_ok(), "after a restart");
        networks.disconnect(&net.id, "a", Some(&a.namespace)).unwrap();
        assert_eq!(ask((ip("::1"), granted[2].host_port)).unwrap_or_default(), "", "there is no way out");
        networks.release("b").unwrap();
        assert!(ask((ip("127.0.0.1"), four)).is_err());
        networks.teardown().unwrap();
        assert!(ask((ip("::1"), granted[2].host_port)).is_err());
    });
}

#[test]
fn datagrams_on_the_loopback_of_ipv6_go_both_ways() {
    on_host(|dir| {
        let networks = open(dir);
        let net = networks.create(request("app")).unwrap();
        let a = Sandbox::new("a");
        a.connect(&networks, &net).unwrap();
        a.answer_datagrams(80);
        let (port, last) = port("::1", 0);
        let udp = [(PublishedPort { protocol: Protocol::Udp, ..port }, last)];
        let granted = networks.publish("a", &udp).unwrap()[0].host_port;
        let clients = [0, 1].map(|_| UdpSocket::bind((ip("::1"), 0)).unwrap());
        for client in clients.iter().cycle().take(6) {
            client.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            client.send_to(b"who", (ip("::1"), granted)).unwrap();
            let mut answer = [0; 8];
            let (len, from) = client.recv_from(&mut answer).unwrap();
            assert_eq!((&answer[..len], from.port()), (&b"a"[..], granted));
        }
        networks.teardown().unwrap();
    });
}

#[test]
fn after_a_restart_the_claimed_go_on_and_the_rest_is_gone() {
    on_host(|dir| {
        let networks = open(dir);
        let (net, other) =
            (networks.create(request("app")).unwrap(), networks.create(request("other")).unwrap());
        let (a, b) = (Sandbox::new("a"), Sandbox::new("b"));
        let endpoint = a.connect(&networks, &net).unwrap();
        a.connect(&networks, &other).unwrap();
        let lost = b.connect(&networks, &net).unwrap();
        a.serve(ip("0.0.0.0"), 80);
        let granted = networks.publish("a", &[port("0.0.0.0", 0)]).unwrap()[0];
        drop(networks);
        Links::open().unwrap().delete(&other.bridge).unwrap();
        let networks = open(dir);
        assert!(ask((ip("127.0.0.1"), granted.host_port)).is_ok());
        assert!(links().contains(&other.bridge), "a bridge that is missing is made");
        let claims = HashMap::from([("a".to_owned(), HashSet::from([net.id.clone()]))]);
        networks.adopt(&claims, |_| None).unwrap();
        assert_eq!(networks.member("a").unwrap().endpoints.first(), Some(&endpoint));
        assert_eq!(networks.member("a").unwrap().endpoints.len(), 1);
        assert!(networks.member("b").is_none() && !links().contains(&lost.link));
        assert_eq!(networks.resolve("a", "a"), Some(vec![endpoint.v4().unwrap().ip]));
        assert!(ask((ip("127.0.0.1"), granted.host_port)).is_ok());
        networks.release("a").unwrap();
        networks.remove(&net.id).unwrap();
        assert_eq!(networks.find("app").unwrap_err().kind(), Kind::NotFound);
        networks.teardown().unwrap();
        assert_eq!(links(), HashSet::from(["lo".to_owned()]));
        assert!(Nft::open().unwrap().tables("hako-").unwrap().is_empty());
        assert_eq!(open(dir).list(), [other], "networks outlive what is in the kernel");
    });
}

#[test]
fn macvlan_sits_on_a_parent_and_what_the_kernel_lacks_is_named() {
    on_host(|dir| {
        let networks = open(dir);
        let peer = new_namespace();
        let veth = hako_netlink::Veth {
            name: "parent0",
            master: None,
            peer_name: "far0",
            peer_mac: [2, 0, 0, 0, 0, 9],
            peer_namespace: peer.as_fd(),
            mtu: None,
        };
        Links::open().unwrap().create_veth(&veth).unwrap();
        in_namespace(peer.as_fd(), || {
            let mut links = Links::open().unwrap();
            links.set_up("far0").unwrap();
            let far = links.get("far0").unwrap().index;
            links.add_ip(far, ip("10.60.0.1"), 24).unwrap();
        })
        .unwrap();
        let subnet = "10.60.0.0/24".parse().unwrap();
        let gateway = Some(ip("10.60.0.1"));
        let ipam = Ipam { subnet, gateway, range: None, aux: BTreeMap::new(), chosen: true };
        let options = BTreeMap::from([("parent".to_owned(), "parent0".to_owned())]);
        let lan = NetworkRequest { driver: Driver::Macvlan, ipam: vec![ipam], options, ..request("lan") };
        match networks.create(NetworkRequest { driver: Driver::Ipvlan, ..lan.clone() }) {
            Ok(net) => networks.remove(&net.id).unwrap(),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Unimplemented, "{error:?}");
                assert!(error.to_string().contains("CONFIG_IPVLAN"), "{error}");
            }
        }
        let net = networks.create(lan.clone()).unwrap();
        let (a, b) = (Sandbox::new("a"), Sandbox::new("b"));
        a.connect(&networks, &net).unwrap();
        let at_b = b.connect(&networks, &net).unwrap();
        b.serve(ip("0.0.0.0"), 80);
        assert_eq!(a.ask((at_b.v4().unwrap().ip, 80)).unwrap(), "10.60.0.2");
        networks.disconnect(&net.id, "a", Some(&a.namespace)).unwrap();
        assert!(a.ask((at_b.v4().unwrap().ip, 80)).is_err());
        networks.release("b").unwrap();
        networks.remove(&net.id).unwrap();
        addresses_come_from_the_first_subnet_with_room(&networks, &lan);
        a_vlan_comes_and_goes(&networks, &lan);
        networks.teardown().unwrap();
    });
}

/// On `parent0`.
fn addresses_come_from_the_first_subnet_with_room(networks: &Networks, lan: &NetworkRequest) {
    let pool = |subnet: &str| {
        let subnet = subnet.parse().unwrap();
        Ipam { subnet, gateway: None, range: None, aux: BTreeMap::new(), chosen: true }
    };
    let ipam = vec![pool("10.61.0.0/30"), pool("10.62.0.0/24")];
    let twice = NetworkRequest { ipam: vec![pool("10.61.0.0/24"), pool("10.61.0.0/30")], ..lan.clone() };
    assert!(networks.create(twice).unwrap_err().to_string().contains("Pool overlaps"));
    let bridge = NetworkRequest { ipam: ipam.clone(), ..request("bridge-of-two") };
    let refused = networks.create(bridge).unwrap_err();
    assert_eq!(refused.to_string(), "bridge driver doesn't support multiple subnets");
    let net = networks.create(NetworkRequest { ipam, ..lan.clone() }).unwrap();
    let sandboxes = ["a", "b", "c"].map(Sandbox::new);
    let mut asked = [None, None, Some(ip("10.62.0.9"))].into_iter();
    let got = sandboxes.each_ref().map(|sandbox| {
        let connect = Connect { ip4: asked.next().flatten(), ..sandbox.place(&net) };
        let address = networks.connect(&connect).unwrap().v4().unwrap();
        format!("{}/{} by {}", address.ip, address.prefix, address.gateway.unwrap())
    });
    assert_eq!(got, ["10.61.0.2/30 by 10.61.0.1", "10.62.0.2/24 by 10.62.0.1", "10.62.0.9/24 by 10.62.0.1"]);
    let last = Sandbox::new("d");
    let refused = networks.connect(&Connect { ip4: Some(ip("10.63.0.9")), ..last.place(&net) }).unwrap_err();
    assert!(refused.to_string().contains("no configured subnet or ip-range contain"), "{refused}");
    sandboxes.iter().for_each(|sandbox| networks.release(&sandbox.id).unwrap());
    networks.remove(&net.id).unwrap();
}

/// On `parent0`.
fn a_vlan_comes_and_goes(networks: &Networks, lan: &NetworkRequest) {
    let vlan = |name: &str, mode: &str| {
        let options = [("parent", "parent0.10"), ("macvlan_mode", mode)];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        networks.create(NetworkRequest { options, ipam: Vec::new(), name: name.to_owned(), ..lan.clone() })
    };
    match vlan("ten", "bridge") {
        Ok(ten) => {
            assert!(links().contains("parent0.10"));
            let more = vlan("more", "bridge").unwrap();
            networks.remove(&ten.id).unwrap();
            assert!(links().contains("parent0.10"), "somebody else sits there");
            networks.remove(&more.id).unwrap();
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Unimplemented, "{error:?}");
            assert!(error.to_string().contains("parent0.10 vlan link"), "{error}");
            assert!(error.to_string().contains("CONFIG_VLAN_8021Q"), "{error}");
        }
    }
    assert!(!links().contains("parent0.10"), "it goes with the last");
}

#[test]
fn a_link_that_leads_nowhere_is_made_again_and_goes_with_its_network() {
    on_host(|dir| {
        let networks = open(dir);
        let alone = NetworkRequest { driver: Driver::Macvlan, ..request("alone") };
        let net = match networks.create(alone.clone()) {
            Ok(net) => net,
            Err(error) => {
                assert!(error.to_string().contains("CONFIG_DUMMY"), "{error}");
                return;
            }
        };
        let link = format!("dm-{}", &net.id[..12]);
        assert!(links().contains(&link) && net.is_internal() && net.ipam[0].gateway.is_none());
        drop(networks);
        Links::open().unwrap().delete(&link).unwrap();
        let networks = open(dir);
        assert!(links().contains(&link), "a restart makes what is recorded");
        // Each gets the addresses of the one before, whose namespace is hardly gone.
        for _ in 0..5 {
            let a = Sandbox::new("a");
            let endpoint = a.connect(&networks, &net).unwrap();
            assert_eq!(endpoint.v4().unwrap().gateway, None);
            networks.release("a").unwrap();
        }
        networks.remove(&net.id).unwrap();
        let bad = BTreeMap::from([("macvlan_mode".to_owned(), "odd".to_owned())]);
        let refused = networks.create(NetworkRequest { options: bad, ..alone }).unwrap_err();
        assert!(refused.to_string().contains("requested macvlan mode 'odd' is not valid"), "{refused}");
        assert!(!links().iter().any(|name| name.starts_with("dm-")), "{:?}", links());
        networks.teardown().unwrap();
    });
}

#[test]
fn a_network_without_inter_container_traffic_keeps_its_members_apart() {
    on_host(|dir| {
        let networks = open(dir);
        let options =
            BTreeMap::from([("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned())]);
        let net = networks.create(NetworkRequest { options, ..request("apart") }).unwrap();
        let (a, b) = (Sandbox::new("a"), Sandbox::new("b"));
        a.connect(&networks, &net).unwrap();
        let at_b = b.connect(&networks, &net).unwrap();
        b.serve(ip("0.0.0.0"), 80);
        assert!(a.ask((at_b.v4().unwrap().ip, 80)).is_err());
        assert!(ask((at_b.v4().unwrap().ip, 80)).is_ok());
        let granted = networks.publish("b", &[port("0.0.0.0", 0)]).unwrap()[0];
        let gateway = net.ipam[0].gateway.unwrap();
        assert!(a.ask((gateway, granted.host_port)).is_ok(), "published ports are for everybody");
        networks.teardown().unwrap();
    });
}

#[test]
fn datagrams_follow_a_published_port_to_another_sandbox() {
    on_host(|dir| {
        let networks = open(dir);
        let net = networks.create(request("app")).unwrap();
        let (a, b) = (Sandbox::new("a"), Sandbox::new("b"));
        for sandbox in [&a, &b] {
            sandbox.connect(&networks, &net).unwrap();
            sandbox.answer_datagrams(80);
        }
        let udp = |host_port| {
            let (port, last) = port("0.0.0.0", host_port);
            [(PublishedPort { protocol: Protocol::Udp, ..port }, last)]
        };
        let granted = networks.publish("a", &udp(0)).unwrap()[0].host_port;
        let client = UdpSocket::bind((ip("127.0.0.1"), 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        client.connect((ip("127.0.0.1"), granted)).unwrap();
        let who = || {
            client.send(b"who").unwrap();
            let mut answer = [0; 8];
            let len = client.recv(&mut answer).unwrap();
            String::from_utf8_lossy(&answer[..len]).into_owned()
        };
        assert_eq!(who(), "a");
        networks.publish("a", &[]).unwrap();
        networks.publish("b", &udp(granted)).unwrap();
        assert_eq!(who(), "b");
        networks.teardown().unwrap();
    });
}

#[test]
fn cve_2020_8558_a_sandbox_cannot_reach_the_hosts_loopback() {
    on_host(|dir| {
        let networks = open(dir);
        let net = networks.create(request("app")).unwrap();
        let a = Sandbox::new("a");
        let own = a.connect(&networks, &net).unwrap().v4().unwrap().ip;
        let host = UdpSocket::bind((ip("127.0.0.1"), 0)).unwrap();
        host.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let port = host.local_addr().unwrap().port();
        let gateway = net_gateway(&net);
        in_namespace(a.namespace.as_fd(), || {
            // As a hostile sandbox would: loopback leads to the gateway.
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
            let run = |args: &[&str]| assert!(Command::new("ip").args(args).status().unwrap().success());
            run(&["rule", "add", "pref", "0", "to", "127.0.0.0/8", "lookup", "7"]);
            run(&["rule", "del", "pref", "0", "lookup", "local"]);
            run(&["rule", "add", "pref", "1", "lookup", "local"]);
            run(&["route", "add", "127.0.0.0/8", "via", &gateway, "dev", "eth0", "onlink", "table", "7"]);
        })
        .unwrap();
        let send = || {
            let socket = UdpSocket::bind((own, 0)).unwrap();
            socket.send_to(b"x", (ip("127.0.0.1"), port))
        };
        let arrives = || {
            in_namespace(a.namespace.as_fd(), send).unwrap().unwrap();
            host.recv_from(&mut [0; 8]).is_ok()
        };
        assert!(!arrives());
        // It is the guard that holds it.
        let flush = ["flush", "chain", "inet", "hako-abc123-nets", "guard"];
        assert!(Command::new("nft").args(flush).status().unwrap().success());
        assert!(arrives());
        networks.teardown().unwrap();
    });
}

#[test]
fn an_endpoint_has_the_link_name_and_settings_that_it_asks_for() {
    on_host(|dir| {
        let networks = open(dir);
        let options =
            BTreeMap::from([("com.docker.network.container_iface_prefix".to_owned(), "lan".to_owned())]);
        let net = networks.create(NetworkRequest { options, ..request("app") }).unwrap();
        let other = networks.create(request("other")).unwrap();
        let a = Sandbox::new("a");
        assert_eq!(a.connect(&networks, &net).unwrap().interface, "lan0");
        let named = "com.docker.network.endpoint.ifname";
        let refused = a.connect_with(&networks, &other, &[(named, "lan0")]).unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "{refused:?}");
        let settings = ("com.docker.network.endpoint.sysctls", "net.ipv4.conf.IFNAME.log_martians=1");
        let endpoint =
            a.connect_with(&networks, &other, &[(named, "out.1"), settings, ("mine", "x")]).unwrap();
        assert_eq!(endpoint.interface, "out.1");
        let read = |name: &str| {
            let path = format!("/proc/sys/net/ipv4/conf/{name}/log_martians");
            in_namespace(a.namespace.as_fd(), || std::fs::read_to_string(path).unwrap()).unwrap()
        };
        assert_eq!((read("out.1").trim(), read("lan0").trim()), ("1", "0"));
        networks.disconnect(&other.id, "a", Some(&a.namespace)).unwrap();
        let unknown = a.connect_with(&networks, &other, &[("com.docker.network.x", "1")]).unwrap_err();
        assert_eq!(unknown.kind(), Kind::Unimplemented, "{unknown:?}");
        networks.teardown().unwrap();
    });
}
