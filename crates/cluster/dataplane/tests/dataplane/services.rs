//! Services with real connections through the kernel.

use crate::host::{Host, Pod, TABLE, ask, cluster_ip, eventually, on_host, ready};
use hako_dataplane::Withdrawn;
use hako_netlink::nft::{Batch, Chain, Nft, Set};
use hako_netlink::{Conntrack, Links};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const WEB: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 10), 80);
const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn who(answer: &str) -> String {
    answer.split(' ').next().unwrap().to_owned()
}

fn in_an_hour() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

#[test]
fn a_cluster_ip_reaches_all_ready_endpoints_from_pods_and_from_the_host() {
    on_host(|host| async move {
        let (a, b, client) = (host.server("a"), host.server("b"), host.pod("client"));
        host.api.service("web", cluster_ip("10.96.0.10"));
        host.api.endpoints("web", &[&a, &b]);
        let dataplane = host.start().await;
        let from_pod: BTreeSet<String> = (0..40).map(|_| client.ask(WEB)).collect();
        let address = client.ip();
        assert_eq!(from_pod, BTreeSet::from([format!("a {address}"), format!("b {address}")]));
        let from_host: BTreeSet<String> = (0..40).map(|_| who(&ask(WEB).unwrap())).collect();
        assert_eq!(from_host, BTreeSet::from(["a".into(), "b".into()]));
        dataplane.teardown().await.unwrap();
    });
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    on_host(|host| async move {
        let a = host.server("a");
        host.api.service("web", cluster_ip("10.96.0.10"));
        host.api.endpoints("web", &[&a]);
        let _dataplane = host.start().await;
        assert_eq!(a.ask(WEB), format!("a {}", host.network.gateway()));
    });
}

#[test]
fn changes_arrive_within_milliseconds() {
    on_host(|host| async move {
        let (a, b) = (host.server("a"), host.server("b"));
        host.api.service("web", cluster_ip("10.96.0.10"));
        host.api.endpoints("web", &[&a]);
        let _dataplane = host.start().await;
        let mut nft = Nft::open().unwrap();
        let mut count = |len: usize| nft.elements(TABLE, "endpoints").unwrap().len() == len;
        let mut slowest = Duration::ZERO;
        for round in 0..20 {
            let started = Instant::now();
            let pods = if round % 2 == 0 { vec![&a, &b] } else { vec![&a] };
            host.api.endpoints("web", &pods);
            while !count(pods.len()) {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            slowest = slowest.max(started.elapsed());
        }
        println!("slowest change: {slowest:?}");
        assert!(slowest < Duration::from_millis(250));
    });
}

#[test]
fn a_node_port_answers_on_loopback_and_on_every_address_and_is_reserved() {
    on_host(|host| async move {
        let (a, client) = (host.server("a"), host.pod("client"));
        let mut spec = cluster_ip("10.96.0.10");
        spec["type"] = json!("NodePort");
        spec["ports"][0]["nodePort"] = json!(30080);
        host.api.service("web", spec);
        host.api.endpoints("web", &[&a]);
        let _dataplane = host.start().await;
        let gateway = host.network.gateway();
        assert_eq!(ask((LOCAL, 30080)).unwrap(), format!("a {gateway}"));
        assert_eq!(ask((gateway, 30080)).unwrap(), format!("a {gateway}"));
        assert_eq!(client.ask((gateway, 30080)), format!("a {}", client.ip()));
        assert!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 30080)).is_err());
        host.api.endpoints("web", &[]);
        eventually("a refusal", || {
            ask((LOCAL, 30080)).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        })
        .await;
    });
}

#[test]
fn a_node_port_that_somebody_has_is_left_to_them_until_they_go() {
    on_host(|host| async move {
        let a = host.server("a");
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 30080)).unwrap();
        let mut spec = cluster_ip("10.96.0.10");
        spec["type"] = json!("NodePort");
        spec["ports"][0]["nodePort"] = json!(30080);
        host.api.service("web", spec);
        host.api.endpoints("web", &[&a]);
        let _dataplane = host.start().await;
        eventually("it is said", || host.api.events().len() == 1).await;
        let (reason, message) = host.api.events().remove(0);
        assert_eq!(reason, "NodePortInUse");
        assert!(message.starts_with("node port 30080/tcp is not served: another program"), "{message}");
        for endpoints in [&[][..], &[&a]] {
            host.api.endpoints("web", endpoints);
            let is_served = endpoints.len() == 1;
            eventually("the change is there", || ask(WEB).is_ok() == is_served).await;
        }
        let stream = TcpStream::connect((LOCAL, 30080)).unwrap();
        drop((taken.accept().unwrap(), stream, taken));
        eventually("the port is served", || ask((LOCAL, 30080)).is_ok_and(|answer| who(&answer) == "a"))
            .await;
        eventually("that is said too", || host.api.events().len() == 2).await;
        let reasons: Vec<_> = host.api.events().into_iter().map(|(reason, _)| reason).collect();
        assert_eq!(reasons, ["NodePortInUse", "NodePortServed"], "once, however often the service changed");
    });
}

#[test]
fn without_ready_endpoints_and_at_unknown_addresses_connections_are_refused_not_left_to_wait() {
    on_host(|host| async move {
        let client = host.pod("client");
        host.api.service("web", cluster_ip("10.96.0.10"));
        let _dataplane = host.start().await;
        for to in [WEB, (Ipv4Addr::new(10, 96, 7, 7), 80)] {
            assert_eq!(ask(to).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            assert_eq!(client.enter(|| ask(to)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn leaving_endpoints_serve_only_while_nobody_else_does() {
    on_host(|host| async move {
        let (a, b) = (host.server("a"), host.server("b"));
        host.api.service("web", cluster_ip("10.96.0.10"));
        let mut leaving = ready(&a);
        leaving["conditions"] = json!({"ready": false, "serving": true, "terminating": true});
        host.api.slice("web", json!([leaving]));
        let _dataplane = host.start().await;
        assert_eq!(who(&ask(WEB).unwrap()), "a");
        host.api.slice("web", json!([leaving, ready(&b)]));
        eventually("b alone answers", || (0..10).all(|_| who(&ask(WEB).unwrap()) == "b")).await;
    });
}

/// nft(8) reads back what is in the kernel; some versions abort on rules that the kernel takes.
fn lists_the_rules() {
    let output = std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("map endpoints"), "{}: {errors}", output.status);
}

#[test]
fn with_affinity_a_client_stays_until_its_endpoint_goes() {
    on_host(|host| async move {
        let pods = [host.server("a"), host.server("b"), host.server("c")];
        let clients: Vec<_> = (0..6).map(|n| host.pod(&format!("client{n}"))).collect();
        let mut spec = cluster_ip("10.96.0.10");
        spec["sessionAffinity"] = json!("ClientIP");
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 60}});
        host.api.service("web", spec);
        host.api.endpoints("web", &[&pods[0], &pods[1], &pods[2]]);
        let _dataplane = host.start().await;
        let mut seen = BTreeSet::new();
        for client in &clients {
            let first = who(&client.ask(WEB));
            assert!((0..8).all(|_| who(&client.ask(WEB)) == first));
            seen.insert(first);
        }
        assert!(seen.len() > 1, "clients are spread");
        lists_the_rules();
        host.api.endpoints("web", &[&pods[0], &pods[1]]);
        eventually("c is gone", || clients.iter().all(|client| who(&client.ask(WEB)) != "c")).await;
        for client in &clients {
            let second = who(&client.ask(WEB));
            assert!((0..8).all(|_| who(&client.ask(WEB)) == second));
        }
    });
}

#[test]
fn local_policies_use_endpoints_of_this_node_only() {
    on_host(|host| async move {
        let (a, b) = (host.server("a"), host.server("b"));
        let mut spec = cluster_ip("10.96.0.10");
        spec["type"] = json!("NodePort");
        spec["externalTrafficPolicy"] = json!("Local");
        spec["ports"][0]["nodePort"] = json!(30080);
        host.api.service("web", spec);
        let mut far = ready(&b);
        far["nodeName"] = json!("elsewhere");
        host.api.slice("web", json!([ready(&a), far]));
        let _dataplane = host.start().await;
        assert!((0..20).all(|_| who(&ask((LOCAL, 30080)).unwrap()) == "a"));
        assert!((0..60).any(|_| who(&ask(WEB).unwrap()) == "b"));
    });
}

#[test]
fn a_withdrawal_waits_for_open_connections_and_lets_no_new_one_in() {
    on_host(|host| async move {
        let (a, b) = (host.server("a"), host.server("b"));
        host.api.service("web", cluster_ip("10.96.0.10"));
        host.api.endpoints("web", &[&a, &b]);
        let dataplane = host.start().await;
        let held = (0..)
            .map(|_| TcpStream::connect(SocketAddr::from(WEB)).unwrap())
            .find_map(|mut stream| {
                let mut answer = [0; 1];
                stream.read_exact(&mut answer).unwrap();
                (answer == *b"a").then_some(stream)
            })
            .unwrap();
        // The server has closed its side, which alone keeps nothing waiting.
        let started = Instant::now();
        let done = dataplane.withdraw(a.ip(), in_an_hour()).await.unwrap();
        assert_eq!(done, Withdrawn { open_connections: 0 });
        println!("withdrawal without open connections: {:?}", started.elapsed());
        drop(held);
        assert!((0..30).all(|_| who(&ask(WEB).unwrap()) == "b"));
        host.api.endpoints("web", &[&a, &b]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!((0..30).all(|_| who(&ask(WEB).unwrap()) == "b"), "whatever the API says");
        dataplane.readmit(a.ip()).await.unwrap();
        assert!((0..60).any(|_| who(&ask(WEB).unwrap()) == "a"));
    });
}

#[test]
fn an_open_connection_holds_a_withdrawal_until_it_ends_or_the_deadline() {
    on_host(|host| async move {
        let a = host.pod("a");
        let listener = a.enter(|| TcpListener::bind((a.ip(), 8080)).unwrap());
        host.api.service("web", cluster_ip("10.96.0.10"));
        host.api.endpoints("web", &[&a]);
        let dataplane = host.start().await;
        let client = TcpStream::connect(SocketAddr::from(WEB)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let soon = Instant::now() + Duration::from_millis(100);
        let late = dataplane.withdraw(a.ip(), soon).await.unwrap();
        assert_eq!(late, Withdrawn { open_connections: 1 });
        // A client that has said all it has to say still waits for the answer.
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let soon = Instant::now() + Duration::from_millis(100);
        assert_eq!(dataplane.withdraw(a.ip(), soon).await.unwrap(), Withdrawn { open_connections: 1 });
        let waiting = dataplane.withdraw(a.ip(), in_an_hour());
        let closing = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            server.write_all(b"bye").unwrap();
            drop(server);
        };
        let (done, ()) = tokio::join!(waiting, closing);
        assert_eq!(done.unwrap(), Withdrawn { open_connections: 0 });
    });
}

#[test]
fn a_withdrawal_ends_when_no_slice_names_the_address() {
    on_host(|host| async move {
        let (a, b) = (host.server("a"), host.server("b"));
        host.api.service("web", cluster_ip("10.96.0.10"));
        host.api.endpoints("web", &[&a, &b]);
        let dataplane = host.start().await;
        dataplane.withdraw(a.ip(), in_an_hour()).await.unwrap();
        host.api.endpoints("web", &[&b]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        host.api.endpoints("web", &[&a, &b]);
        eventually("a answers again", || who(&ask(WEB).unwrap()) == "a").await;
    });
}

/// A server that exits at once when told, as a process does on SIGTERM without a hook: from then on connections to it
/// are refused.
struct Server {
    pod: Pod,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

/// A request takes a while, and whoever dies meanwhile answers nothing.
fn answer_slowly(mut stream: TcpStream, is_over: &AtomicBool) {
    let mut request = [0; 1];
    if stream.read_exact(&mut request).is_ok() {
        std::thread::sleep(Duration::from_millis(30));
        if !is_over.load(Ordering::SeqCst) {
            let _ = stream.write_all(b"ok");
        }
    }
}

impl Server {
    fn start(host: &Host, n: usize) -> Self {
        let pod = host.pod(&format!("server{n}"));
        let listener = pod.enter(|| TcpListener::bind((pod.ip(), 8080)).unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, is_over) = (stream.unwrap(), Arc::clone(&is_over));
                std::thread::spawn(move || answer_slowly(stream, &is_over));
            }
        });
        Self { pod, stop, thread }
    }

    fn exit(self, host: &Host) {
        self.stop.store(true, Ordering::SeqCst);
        self.pod.enter(|| drop(TcpStream::connect((self.pod.ip(), 8080))));
        self.thread.join().unwrap();
        host.network.detach(&self.pod.attachment.id).unwrap();
    }
}

/// Clients that connect anew for every request.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<std::thread::JoinHandle<(usize, Vec<std::io::Error>)>>,
}

impl Load {
    fn start(clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let run = |stop: Arc<AtomicBool>| {
            let (mut good, mut bad) = (0, Vec::new());
            while !stop.load(Ordering::SeqCst) {
                match request() {
                    Ok(()) => good += 1,
                    Err(error) => bad.push(error),
                }
                std::thread::sleep(Duration::from_micros(300));
            }
            (good, bad)
        };
        let clients =
            (0..clients).map(|_| Arc::clone(&stop)).map(|stop| std::thread::spawn(move || run(stop)));
        Self { clients: clients.collect(), stop }
    }

    /// How many requests were answered; fails if any was not.
    fn finish(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let ends: Vec<_> = self.clients.into_iter().map(|client| client.join().unwrap()).collect();
        let bad: Vec<_> = ends.iter().flat_map(|(_, bad)| bad).collect();
        assert!(bad.is_empty(), "{} failed, such as {:?}", bad.len(), bad[0]);
        ends.iter().map(|(good, _)| good).sum()
    }
}

/// What a roll-out does, as fast as it can: each server is withdrawn, exits at once and is replaced, under load.
#[test]
fn replacing_every_endpoint_under_load_fails_no_request() {
    on_host(|host| async move {
        let mut servers: Vec<_> = (0..3).map(|n| Server::start(&host, n)).collect();
        let publish = |servers: &[Server]| {
            let pods: Vec<_> = servers.iter().map(|server| &server.pod).collect();
            host.api.endpoints("web", &pods);
        };
        host.api.service("web", cluster_ip("10.96.0.10"));
        publish(&servers);
        let dataplane = host.start().await;
        let load = Load::start(16);
        for n in 3..33 {
            servers.push(Server::start(&host, n));
            publish(&servers);
            let old = servers.remove(0);
            let deadline = Instant::now() + Duration::from_secs(5);
            let done = dataplane.withdraw(old.pod.ip(), deadline).await.unwrap();
            assert_eq!(done.open_connections, 0);
            old.exit(&host);
            publish(&servers);
        }
        let requests = load.finish();
        println!("{requests} requests");
        assert!(requests > 300);
    });
}

/// A crash and a restart of the daemon in the midst of it, too: the table is adopted, not flushed.
#[test]
fn restarting_under_load_fails_no_request() {
    on_host(|host| async move {
        let servers: Vec<_> = (0..3).map(|n| Server::start(&host, n)).collect();
        host.api.service("web", cluster_ip("10.96.0.10"));
        host.api.endpoints("web", &servers.iter().map(|server| &server.pod).collect::<Vec<_>>());
        let mut dataplane = host.start().await;
        let load = Load::start(16);
        for _ in 0..20 {
            drop(dataplane);
            tokio::time::sleep(Duration::from_millis(10)).await;
            dataplane = host.start_again().await;
        }
        let requests = load.finish();
        println!("{requests} requests");
        assert!(requests > 100);
    });
}

fn request() -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(WEB), Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"?")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer == "ok" { Ok(()) } else { Err(std::io::Error::other(format!("answer {answer:?}"))) }
}

#[test]
fn after_a_crash_the_table_goes_on_serving_and_is_brought_up_to_date() {
    on_host(|host| async move {
        let (a, b) = (host.server("a"), host.server("b"));
        host.api.service("web", cluster_ip("10.96.0.10"));
        host.api.service("old", cluster_ip("10.96.0.12"));
        host.api.endpoints("web", &[&a]);
        host.api.endpoints("old", &[&a]);
        let dataplane = host.start().await;
        assert_eq!(who(&ask(WEB).unwrap()), "a");
        drop(dataplane);
        assert_eq!(who(&ask(WEB).unwrap()), "a");
        host.api.endpoints("web", &[&b]);
        host.api.delete("services", "old");
        host.api.delete("endpointslices", "old");
        let dataplane = host.start_again().await;
        assert!((0..10).all(|_| who(&ask(WEB).unwrap()) == "b"));
        assert_eq!(ask((Ipv4Addr::new(10, 96, 0, 12), 80)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let mut nft = Nft::open().unwrap();
        assert_eq!(nft.elements(TABLE, "endpoints").unwrap().len(), 1);
        assert!(!nft.chains(TABLE).unwrap().iter().any(|chain| chain.contains("old")));
        dataplane.teardown().await.unwrap();
    });
}

#[test]
fn a_table_that_somebody_deleted_comes_back_with_the_next_change() {
    on_host(|host| async move {
        let (a, b) = (host.server("a"), host.server("b"));
        host.api.service("web", cluster_ip("10.96.0.10"));
        host.api.endpoints("web", &[&a]);
        let _dataplane = host.start().await;
        Nft::open().unwrap().delete_table(TABLE).unwrap();
        host.api.endpoints("web", &[&b]);
        eventually("b answers", || ask(WEB).is_ok_and(|answer| who(&answer) == "b")).await;
    });
}

#[test]
fn a_table_of_another_version_is_replaced() {
    on_host(|host| async move {
        let a = host.server("a");
        host.api.service("web", cluster_ip("10.96.0.10"));
        host.api.endpoints("web", &[&a]);
        let mut batch = Batch::new(TABLE);
        let services =
            Set { name: "services", key_type: 7, key_len: 4, map: None, timeout: None, size: None };
        batch.add_table().add_set(&services).add_chain(&Chain { name: "svc-old", hook: None });
        Nft::open().unwrap().commit(batch).unwrap();
        let _dataplane = host.start().await;
        assert_eq!(who(&ask(WEB).unwrap()), "a");
        assert!(!Nft::open().unwrap().chains(TABLE).unwrap().contains(&"svc-old".to_owned()));
    });
}

#[test]
fn a_thousand_services_are_programmed_in_one_go_and_changed_one_by_one() {
    on_host(|host| async move {
        let (a, b) = (host.server("a"), host.server("b"));
        for n in 0..1000 {
            let name = format!("web{n}");
            host.api.service(&name, cluster_ip(&format!("10.96.{}.{}", n / 200, n % 200 + 1)));
            host.api.endpoints(&name, &[&a]);
        }
        let started = Instant::now();
        let _dataplane = host.start().await;
        println!("1000 services: {:?}", started.elapsed());
        let last = (Ipv4Addr::new(10, 96, 4, 200), 80);
        assert_eq!(who(&ask(last).unwrap()), "a");
        let started = Instant::now();
        host.api.endpoints("web999", &[&b]);
        eventually("b answers", || who(&ask(last).unwrap()) == "b").await;
        println!("one change among them: {:?}", started.elapsed());
        assert_eq!(who(&ask((Ipv4Addr::new(10, 96, 0, 1), 80)).unwrap()), "a");
    });
}

#[test]
fn datagrams_follow_their_service_when_an_endpoint_goes() {
    on_host(|host| async move {
        let (a, b) = (host.pod("a"), host.pod("b"));
        for (pod, name) in [(&a, "a"), (&b, "b")] {
            let socket = pod.enter(|| UdpSocket::bind((pod.ip(), 8080)).unwrap());
            std::thread::spawn(move || {
                let mut buf = [0; 8];
                while let Ok((_, client)) = socket.recv_from(&mut buf) {
                    let _ = socket.send_to(name.as_bytes(), client);
                }
            });
        }
        let mut spec = cluster_ip("10.96.0.10");
        spec["ports"][0]["protocol"] = json!("UDP");
        host.api.service("web", spec);
        let publish = |pod: &Pod| {
            let object = json!([ready(pod)]);
            host.api.slice_of("web", "UDP", object);
        };
        publish(&a);
        let _dataplane = host.start().await;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.connect(SocketAddr::from(WEB)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let ask = || {
            let _ = socket.send(b"?");
            let mut buf = [0; 8];
            socket
                .recv(&mut buf)
                .map(|len| String::from_utf8_lossy(&buf[..len]).into_owned())
                .unwrap_or_default()
        };
        assert_eq!(ask(), "a");
        publish(&b);
        eventually("b answers the same socket", || ask() == "b").await;
    });
}

#[test]
fn teardown_leaves_nothing() {
    on_host(|host| async move {
        let a = host.server("a");
        host.api.service("web", cluster_ip("10.96.0.10"));
        host.api.endpoints("web", &[&a]);
        let dataplane = host.start().await;
        assert_eq!(who(&ask(WEB).unwrap()), "a");
        dataplane.teardown().await.unwrap();
        host.network.teardown().unwrap();
        assert_eq!(Nft::open().unwrap().tables("").unwrap(), Vec::<String>::new());
        let mut links = Links::open().unwrap();
        assert!(links.list().unwrap().iter().all(|link| link.name == "lo"));
        assert!(links.routes().unwrap().is_empty());
        assert!(Conntrack::open().unwrap().list().is_ok());
    });
}
