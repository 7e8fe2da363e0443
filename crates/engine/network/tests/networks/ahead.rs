//! Places in networks that are made before somebody asks for them.

use super::host::{Sandbox, ip, links, new_namespace, on_host, open, request};
use hako_netlink::{Links, Veth, in_namespace};
use hako_network::{Ahead, Connect, Endpoint, NetworkRequest, NetworkSpec, Networks};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

fn wait_until(what: &str, mut is_done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_done() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: {:?}", links());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The links that were made ahead, taken or not.
fn made_ahead() -> HashSet<String> {
    links().into_iter().filter(|name| name.starts_with("hnp")).collect()
}

/// As starts that follow each other do.
fn fill(networks: &Networks, net: &NetworkSpec) {
    wait_until("a place made ahead", || {
        networks.make_ahead(&net.id);
        !made_ahead().is_empty()
    });
}

fn taken(networks: &Networks, net: &NetworkSpec) -> Ahead {
    let mut ahead = None;
    wait_until("a place made ahead", || {
        networks.make_ahead(&net.id);
        ahead = networks.take_ahead(&net.id);
        ahead.is_some()
    });
    ahead.unwrap()
}

fn connect(networks: &Networks, net: &NetworkSpec, sandbox: &Sandbox, ahead: &Ahead) -> Endpoint {
    networks.connect(&Connect { ahead: Some(ahead), ..sandbox.place(net) }).unwrap()
}

fn sandbox_in(ahead: &Ahead, id: &str) -> Sandbox {
    Sandbox { id: id.to_owned(), namespace: ahead.namespace().try_clone().unwrap() }
}

/// What a program in a namespace sees of it, but for what tells its members apart.
fn seen(sandbox: &Sandbox, endpoint: &Endpoint) -> String {
    in_namespace(sandbox.namespace.as_fd(), || {
        let show = |args: &[&str]| {
            let output = Command::new("ip").args(args).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let mut text =
            show(&["-o", "addr"]) + &show(&["route"]) + &show(&["-6", "route"]) + &show(&["-o", "link"]);
        let address = endpoint.v4().unwrap().ip.to_string();
        text = text.replace(&address, "ADDRESS").replace(&endpoint.mac, "MAC");
        for family in ["ipv4", "ipv6"] {
            let dir = format!("/proc/sys/net/{family}/conf/eth0");
            let mut names: Vec<_> =
                fs::read_dir(&dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            for name in names {
                text += &format!("{} {}\n", name.display(), fs::read_to_string(&name).unwrap_or_default());
            }
        }
        // Of the pair the other end's number.
        let words =
            text.split_whitespace().map(|word| if word.starts_with("eth0@") { "eth0:" } else { word });
        words.collect::<Vec<_>>().join(" ")
    })
    .unwrap()
}

#[test]
fn a_sandbox_in_a_place_made_ahead_is_as_any_other() {
    on_host(|dir| {
        let networks = open(dir);
        let net = networks.create(request("app")).unwrap();
        let plain = Sandbox::new("plain");
        let at_plain = plain.connect(&networks, &net).unwrap();
        let ahead = taken(&networks, &net);
        let quick = sandbox_in(&ahead, "quick");
        let at_quick = connect(&networks, &net, &quick, &ahead);
        assert!(made_ahead().contains(&at_quick.link), "its link is the one made ahead");
        assert_ne!(at_quick.addresses, at_plain.addresses);
        // The kernel takes a while to notice that a link is up.
        wait_until("the same view", || seen(&quick, &at_quick) == seen(&plain, &at_plain));
        plain.serve(ip("0.0.0.0"), 80);
        quick.serve(ip("0.0.0.0"), 80);
        let (here, there) = (at_quick.v4().unwrap().ip, at_plain.v4().unwrap().ip);
        assert_eq!(quick.ask((there, 80)).unwrap(), here.to_string());
        assert_eq!(plain.ask((here, 80)).unwrap(), there.to_string());
        networks.disconnect(&net.id, "quick", Some(&quick.namespace)).unwrap();
        assert!(!made_ahead().contains(&at_quick.link) && quick.ask((there, 80)).is_err());
        quick.connect(&networks, &net).unwrap();
        assert_eq!(quick.ask((there, 80)).unwrap(), here.to_string(), "and once more");
        networks.teardown().unwrap();
    });
}

#[test]
fn a_hardware_address_that_is_asked_for_is_had_in_a_place_made_ahead() {
    on_host(|dir| {
        let networks = open(dir);
        let net = networks.create(request("app")).unwrap();
        let ahead = taken(&networks, &net);
        let sandbox = sandbox_in(&ahead, "a");
        let mac = Some([2, 0x42, 9, 8, 7, 6]);
        let request = Connect { ahead: Some(&ahead), mac, ..sandbox.place(&net) };
        assert_eq!(networks.connect(&request).unwrap().mac, "02:42:09:08:07:06");
        let link = Links::open_in(sandbox.namespace.as_fd()).unwrap().get("eth0").unwrap();
        assert_eq!(Some(link.mac), mac);
        networks.teardown().unwrap();
    });
}

#[test]
fn a_place_is_for_one_sandbox_and_its_own_network_only() {
    on_host(|dir| {
        let networks = open(dir);
        let (net, other) =
            (networks.create(request("app")).unwrap(), networks.create(request("other")).unwrap());
        let mut taken = vec![taken(&networks, &net)];
        taken.extend(std::iter::from_fn(|| networks.take_ahead(&net.id)));
        let namespaces: HashSet<u64> =
            taken.iter().map(|ahead| ahead.namespace().metadata().unwrap().ino()).collect();
        assert_eq!(namespaces.len(), taken.len());
        // One start of another network is no sequence of starts.
        networks.make_ahead(&other.id);
        assert!(networks.take_ahead(&other.id).is_none());
        drop(taken);
        wait_until("the end of what was not used", || made_ahead().is_empty());
        networks.teardown().unwrap();
    });
}

#[test]
fn the_longer_the_row_of_starts_the_more_places_are_made_but_two_at_most() {
    on_host(|dir| {
        let networks = open(dir);
        let net = networks.create(request("app")).unwrap();
        for expected in [0, 1, 2, 2, 2] {
            networks.make_ahead(&net.id);
            wait_until("the places of this row", || made_ahead().len() >= expected);
            assert_eq!(made_ahead().len(), expected);
        }
        // Who comes for one has the one that was made first, and the next takes its place.
        drop(networks.take_ahead(&net.id).unwrap());
        networks.make_ahead(&net.id);
        let mut both = Vec::new();
        wait_until("two places", || {
            both.extend(networks.take_ahead(&net.id));
            both.len() == 2
        });
        assert!(networks.take_ahead(&net.id).is_none());
        networks.teardown().unwrap();
    });
}

#[test]
fn a_network_takes_the_place_made_in_it_along() {
    on_host(|dir| {
        let networks = open(dir);
        // Ready, or still on its way.
        for is_ready in [true, false] {
            let net = networks.create(request("app")).unwrap();
            networks.make_ahead(&net.id);
            networks.make_ahead(&net.id);
            if is_ready {
                fill(&networks, &net);
            }
            networks.remove(&net.id).unwrap();
            assert!(networks.take_ahead(&net.id).is_none());
            networks.make_ahead(&net.id);
            networks.make_ahead(&net.id);
            assert!(networks.take_ahead(&net.id).is_none(), "there is no such network");
            wait_until("the end of all links", || links() == HashSet::from(["lo".to_owned()]));
        }
        networks.teardown().unwrap();
    });
}

#[test]
fn a_place_that_nobody_comes_for_goes_also_with_who_made_it() {
    on_host(|dir| {
        let networks = open(dir);
        let net = networks.create(request("app")).unwrap();
        fill(&networks, &net);
        wait_until("its end", || made_ahead().is_empty());
        fill(&networks, &net);
        drop(networks);
        wait_until("the end of what nobody holds", || made_ahead().is_empty());
        open(dir).teardown().unwrap();
    });
}

#[test]
fn networks_whose_members_differ_have_no_places_made_ahead() {
    on_host(|dir| {
        let networks = open(dir);
        let prefix = BTreeMap::from([("com.docker.network.container_iface_prefix".into(), "net".into())]);
        let requests = [
            NetworkRequest { ipv6: true, ..request("six") },
            NetworkRequest { options: prefix, ..request("named") },
            NetworkRequest { config_only: true, ..request("settings") },
        ];
        for request in requests {
            let net = networks.create(request).unwrap();
            for _ in 0..3 {
                networks.make_ahead(&net.id);
                assert!(networks.take_ahead(&net.id).is_none(), "{}", net.name);
            }
        }
        // Whatever was ordered before is made before.
        let plain = networks.create(request("plain")).unwrap();
        drop(taken(&networks, &plain));
        let port = |name: &String| Links::open().unwrap().find(name).unwrap().and_then(|link| link.master);
        let bridge = Links::open().unwrap().get(&plain.bridge).unwrap().index;
        assert!(made_ahead().iter().filter_map(port).all(|master| master == bridge));
        networks.teardown().unwrap();
    });
}

#[test]
fn a_place_made_ahead_is_not_what_a_full_bridge_lacks() {
    on_host(|dir| {
        let networks = open(dir);
        let net = networks.create(request("app")).unwrap();
        let bridge = Links::open().unwrap().get(&net.bridge).unwrap().index;
        let (far, mut links) = (new_namespace(), Links::open().unwrap());
        for number in 0..1022_u16 {
            let [a, b] = number.to_be_bytes();
            let veth = Veth {
                name: &format!("port{number}"),
                master: Some(bridge),
                peer_name: &format!("far{number}"),
                peer_mac: [2, 0x67, 0, 0, a, b],
                peer_namespace: far.as_fd(),
                mtu: None,
            };
            links.create_veth(&veth).unwrap();
        }
        fill(&networks, &net);
        let last = Sandbox::new("last");
        last.connect(&networks, &net).unwrap();
        let refused = Sandbox::new("one too many").connect(&networks, &net).unwrap_err();
        assert!(refused.to_string().contains("is full"), "{refused}");
        networks.teardown().unwrap();
    });
}
