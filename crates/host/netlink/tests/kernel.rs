//! Netlink against the real kernel, each test in a namespace of its own, and read back by `ip` and `nft`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

use hako_netlink::nft::{
    Batch, Chain, Comparison, Data, Element, Expression, Hook, HookPoint, HookType, Map, Nft, Part, Reg,
    Rule, Set, Verdict, datatype,
};
use hako_netlink::{
    Address, Conntrack, Errno, Filter, Ipv4Net, Links, Route, Scope, TcpState, Veth, in_namespace,
};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;

fn new_namespace() -> File {
    let make = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    std::thread::spawn(make).join().unwrap()
}

fn fresh<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    in_namespace(new_namespace().as_fd(), test).unwrap()
}

fn run(line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn table(name: &str) -> Batch {
    let mut batch = Batch::new(name);
    batch.add_table();
    batch
}

const PORTS: Set<'_> = Set {
    name: "ports",
    key_type: datatype::concat(&[datatype::IPV4_ADDR, datatype::INET_SERVICE]),
    key_len: 8,
    map: None,
    timeout: None,
    size: None,
};

fn port_key(n: u16) -> Vec<u8> {
    let [high, low] = n.to_be_bytes();
    vec![10, 0, high, low, high, low, 0, 0]
}

#[test]
fn links_addresses_and_routes_are_as_ip_shows_them() {
    fresh(|| {
        let inner = new_namespace();
        let mut links = Links::open().unwrap();
        links.create_bridge("br0", [2, 0, 0, 0, 0, 1]).unwrap();
        let bridge = links.get("br0").unwrap();
        assert_eq!((bridge.kind.as_str(), bridge.is_up, bridge.mac), ("bridge", true, [2, 0, 0, 0, 0, 1]));
        let veth = Veth {
            name: "v0",
            master: Some(bridge.index),
            peer_name: "eth0",
            peer_mac: [2, 0, 0, 0, 0, 2],
            peer_namespace: inner.as_fd(),
            mtu: Some(1400),
        };
        links.create_veth(&veth).unwrap();
        links.open_port("v0").unwrap();
        assert_eq!(links.get("v0").unwrap().master, Some(bridge.index));
        let shown = run("ip -d link show v0");
        assert!(shown.contains("hairpin on") && shown.contains("mtu 1400"), "{shown}");
        assert!(!shown.contains("addrgenmode") || shown.contains("addrgenmode none"), "{shown}");
        let mut there = Links::open_in(inner.as_fd()).unwrap();
        there.set_up("eth0").unwrap();
        assert_eq!(run("ip -6 address show dev v0"), "", "a port has no address of its own");
        let link = there.get("eth0").unwrap().index;
        let (ip, gateway) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1));
        let address = Address { link, ip, prefix: 32 };
        there.add_address(address).unwrap();
        there.add_address(address).unwrap();
        assert_eq!(there.addresses().unwrap(), [address]);
        let near = Route {
            destination: Ipv4Net::new(gateway, 32),
            link,
            gateway: None,
            source: Some(ip),
            scope: Scope::Link,
        };
        let far = Route {
            destination: Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0),
            link,
            gateway: Some(gateway),
            source: None,
            scope: Scope::Universe,
        };
        for route in [&near, &far, &near] {
            there.add_route(route).unwrap();
        }
        let mut routes = there.routes().unwrap();
        routes.sort_by_key(|route| route.destination);
        assert_eq!(routes, [far, near]);
        let shown = in_namespace(inner.as_fd(), || run("ip route")).unwrap();
        assert!(
            shown.contains("default via 10.0.0.1 dev eth0") && shown.contains("10.0.0.1 dev eth0"),
            "{shown}"
        );
        there.delete_route(&far).unwrap();
        assert!(there.delete_route(&far).unwrap_err().is_not_found());
        links.delete("v0").unwrap();
        assert!(there.find("eth0").unwrap().is_none(), "a veth takes its peer with it");
    });
}

#[test]
fn refusals_name_the_object_and_say_why() {
    fresh(|| {
        let mut links = Links::open().unwrap();
        let error = links.delete("none0").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NODEV));
        assert_eq!(error.to_string(), "delete link none0: No such device (os error 19)");
        links.create_bridge("br0", [2, 0, 0, 0, 0, 1]).unwrap();
        let error = links.create_bridge("br0", [2, 0, 0, 0, 0, 1]).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EXIST));
        let mut batch = Batch::new("none");
        batch.flush_chain("c");
        let error = Nft::open().unwrap().commit(batch).unwrap_err();
        assert!(error.to_string().starts_with("flush chain c of nft table none: No such file"), "{error}");
    });
}

#[test]
fn a_batch_takes_effect_as_a_whole_or_not_at_all() {
    fresh(|| {
        let mut nft = Nft::open().unwrap();
        let mut batch = table("t");
        batch.add_set(&PORTS).add_elements("ports", &[Element::key(port_key(1))]);
        nft.commit(batch).unwrap();
        let mut batch = Batch::new("t");
        batch.add_elements("ports", &[Element::key(port_key(2))]);
        batch.delete_elements("ports", &[Element::key(port_key(3))]);
        let error = nft.commit(batch).unwrap_err();
        assert!(error.to_string().starts_with("delete elements from set ports of nft table t"), "{error}");
        let held = nft.elements("t", "ports").unwrap();
        assert_eq!(held.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), [port_key(1)]);
        assert_eq!(nft.tables("t").unwrap(), ["t"]);
        nft.delete_table("t").unwrap();
        nft.delete_table("t").unwrap();
        assert_eq!(run("nft list tables"), "");
    });
}

#[test]
fn ten_thousand_elements_fit_into_one_batch_and_come_back() {
    fresh(|| {
        let mut nft = Nft::open().unwrap();
        let elements: Vec<_> = (0..10_000).map(|n| Element::key(port_key(n))).collect();
        let mut batch = table("t");
        batch.add_set(&PORTS).add_elements("ports", &elements);
        nft.commit(batch).unwrap();
        assert_eq!(nft.elements("t", "ports").unwrap().len(), 10_000);
        let mut batch = Batch::new("t");
        batch.flush_set("ports").add_elements("ports", &elements[..5]);
        nft.commit(batch).unwrap();
        assert_eq!(nft.elements("t", "ports").unwrap().len(), 5);
    });
}

#[test]
fn a_thousand_refusals_do_not_overflow_the_socket() {
    fresh(|| {
        let mut nft = Nft::open().unwrap();
        let mut batch = table("t");
        for n in 0..1000 {
            batch.flush_chain(&format!("none{n}"));
        }
        let error = nft.commit(batch).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        nft.commit(table("t")).unwrap();
    });
}

#[test]
fn maps_and_rules_are_as_nft_shows_them() {
    fresh(|| {
        let mut nft = Nft::open().unwrap();
        let mut batch = table("t");
        let verdicts =
            Set { name: "verdicts", map: Some(Map { datatype: datatype::VERDICT, len: 0 }), ..PORTS };
        batch.add_chain(&Chain { name: "leaf", hook: None }).add_set(&verdicts);
        let elements = [
            Element::verdict(port_key(80), Verdict::Goto("leaf".into())),
            Element::verdict(port_key(81), Verdict::Drop),
        ];
        batch.add_elements("verdicts", &elements);
        let hook = Hook { kind: HookType::Nat, point: HookPoint::Prerouting, priority: -100 };
        batch.add_chain(&Chain { name: "base", hook: Some(hook) });
        let look_up = Expression::LookupVerdict { map: "verdicts".into(), key: Reg(0) };
        batch.add_rule("base", &Rule::new().ipv4().load_destination(Reg(0)).load_port(Reg(1)).then(look_up));
        let net = "10.0.0.0/8".parse().unwrap();
        batch.add_rule(
            "leaf",
            &Rule::new()
                .input(Comparison::Eq, "eth0")
                .ipv4()
                .source(Comparison::Ne, net)
                .then(Expression::Counter)
                .verdict(Verdict::Accept),
        );
        nft.commit(batch).unwrap();
        let mut held = nft.elements("t", "verdicts").unwrap();
        held.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(held[0].data, Some(Data::Verdict(Verdict::Goto("leaf".into()))));
        assert_eq!(held[1].data, Some(Data::Verdict(Verdict::Drop)));
        let mut chains = nft.chains("t").unwrap();
        chains.sort();
        assert_eq!(chains, ["base", "leaf"]);
        let shown = run("nft list table inet t");
        for part in [
            "type nat hook prerouting priority dstnat; policy accept;",
            "ip daddr . th dport vmap @verdicts",
            "10.0.0.80 . 80 : goto leaf",
            "iifname \"eth0\" ip saddr != 10.0.0.0/8 counter packets 0 bytes 0 accept",
        ] {
            assert!(shown.contains(part), "{part} in\n{shown}");
        }
    });
}

#[test]
fn translated_connections_are_listed_by_who_answers_and_can_be_forgotten() {
    fresh(|| {
        Links::open().unwrap().set_up("lo").unwrap();
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut batch = table("t");
        let hook = Hook { kind: HookType::Nat, point: HookPoint::Output, priority: -100 };
        batch.add_chain(&Chain { name: "out", hook: Some(hook) });
        let to = "127.0.0.9/32".parse().unwrap();
        let translate =
            Expression::Nat { which: hako_netlink::nft::Nat::Destination, address: Reg(0), port: None };
        let rule = Rule::new()
            .destination(Comparison::Eq, to)
            .load_ip([127, 0, 0, 2].into(), Reg(0))
            .then(translate);
        batch.add_rule("out", &rule);
        Nft::open().unwrap().commit(batch).unwrap();
        let _direct = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port)).unwrap();
        let client = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 9), port)).unwrap();
        let mut conntrack = Conntrack::open().unwrap();
        let filter = Filter { answers_from: [127, 0, 0, 2].into(), protocol: 6 };
        let found = conntrack.translated_to(filter).unwrap();
        assert_eq!(found.len(), 1, "a direct connection is none of ours");
        assert_eq!(found[0].destination, ([127, 0, 0, 9].into(), port));
        assert_eq!((found[0].state, found[0].is_open()), (TcpState::Established, true));
        client.shutdown(std::net::Shutdown::Both).unwrap();
        let found = conntrack.translated_to(filter).unwrap();
        assert!(found[0].closed_by_source && found[0].is_open(), "the server may still answer: {found:?}");
        conntrack.delete(&found[0]).unwrap();
        conntrack.delete(&found[0]).unwrap();
        assert!(conntrack.translated_to(filter).unwrap().is_empty());
        let other = Filter { answers_from: [127, 0, 0, 3].into(), protocol: 6 };
        assert!(conntrack.translated_to(other).unwrap().is_empty());
    });
}

#[test]
fn this_kernel_has_every_part_of_nftables() {
    fresh(|| assert_eq!(Part::missing(), []));
}
