//! DNS with real questions over UDP and TCP.

use crate::host::{Host, Pod, cluster_ip, on_host, ready};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

const WEB: &str = "web.shop.svc.cluster.local.";

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// Asks on a thread of its own, since the server runs on this one.
async fn asked(from: Option<&Pod>, gateway: Ipv4Addr, message: Message) -> Message {
    let open = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let socket = from.map_or_else(open, |pod| pod.enter(open));
    let ask = move || {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send_to(&message.to_vec().unwrap(), (gateway, 53)).unwrap();
        let mut buf = vec![0; 65_535];
        let len = socket.recv(&mut buf).expect("an answer");
        Message::from_vec(&buf[..len]).unwrap()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

async fn ask(host: &Host, name: &str, kind: RecordType) -> Message {
    let answer = asked(None, host.network.gateway(), question(name, kind)).await;
    assert_eq!(answer.metadata.id, 4711);
    answer
}

fn data(records: &[Record]) -> Vec<String> {
    let mut data: Vec<String> = records.iter().map(|record| record.data.to_string()).collect();
    data.sort();
    data
}

async fn expect(host: &Host, name: &str, kind: RecordType, wanted: &[&str]) {
    let answer = ask(host, name, kind).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{name}");
    assert!(answer.metadata.authoritative, "{name}");
    assert_eq!(data(&answer.answers), wanted, "{name} {kind}");
    let has_soa = answer.authorities.iter().any(|record| record.record_type() == RecordType::SOA);
    assert_eq!(has_soa, wanted.is_empty(), "{name}");
}

async fn expect_none(host: &Host, name: &str) {
    let answer = ask(host, name, RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{name}");
    assert_eq!(answer.authorities.len(), 1);
}

fn headless() -> Value {
    json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]})
}

#[test]
fn services_have_addresses_ports_and_reverse_names() {
    on_host(|host| async move {
        host.api.service("web", cluster_ip("10.96.0.10"));
        let _dataplane = host.start().await;
        expect(&host, WEB, RecordType::A, &["10.96.0.10"]).await;
        expect(&host, "WEB.Shop.sVc.cluster.LOCAL.", RecordType::A, &["10.96.0.10"]).await;
        expect(&host, WEB, RecordType::AAAA, &[]).await;
        expect(&host, &format!("_http._tcp.{WEB}"), RecordType::SRV, &[&format!("0 100 80 {WEB}")]).await;
        expect(&host, "10.0.96.10.in-addr.arpa.", RecordType::PTR, &[WEB]).await;
        expect(&host, "1-2-3-4.shop.pod.cluster.local.", RecordType::A, &["1.2.3.4"]).await;
        expect(&host, "dns-version.cluster.local.", RecordType::TXT, &["1.1.0"]).await;
        expect(&host, "shop.svc.cluster.local.", RecordType::A, &[]).await;
        expect(&host, "cluster.local.", RecordType::A, &[]).await;
        for name in [
            "none.shop.svc.cluster.local.",
            "web.none.svc.cluster.local.",
            "none.svc.cluster.local.",
            "web.shop.svc.cluster.local.shop.svc.cluster.local.",
            "_dns._tcp.web.shop.svc.cluster.local.",
            "x.shop.pod.cluster.local.",
            "99.0.96.10.in-addr.arpa.",
        ] {
            expect_none(&host, name).await;
        }
    });
}

#[test]
fn headless_services_have_the_addresses_of_their_ready_endpoints() {
    on_host(|host| async move {
        let (a, b, c) = (host.pod("a"), host.pod("b"), host.pod("c"));
        host.api.service("db", headless());
        let mut named = ready(&a);
        named["hostname"] = json!("db-0");
        let mut unready = ready(&c);
        unready["conditions"]["ready"] = json!(false);
        host.api.slice("db", json!([named, ready(&b), unready]));
        let dataplane = host.start().await;
        let (a_ip, b_ip) = (a.ip().to_string(), b.ip().to_string());
        let b_name = format!("{}.db.shop.svc.cluster.local.", b_ip.replace('.', "-"));
        expect(&host, "db.shop.svc.cluster.local.", RecordType::A, &[&a_ip, &b_ip]).await;
        expect(&host, "db-0.db.shop.svc.cluster.local.", RecordType::A, &[&a_ip]).await;
        expect(&host, &b_name, RecordType::A, &[&b_ip]).await;
        let first = "0 100 8080 db-0.db.shop.svc.cluster.local.".to_owned();
        let mut both = [first, format!("0 100 8080 {b_name}")];
        both.sort();
        let both: Vec<&str> = both.iter().map(String::as_str).collect();
        expect(&host, "_http._tcp.db.shop.svc.cluster.local.", RecordType::SRV, &both).await;
        let answer = ask(&host, "_http._tcp.db.shop.svc.cluster.local.", RecordType::SRV).await;
        assert_eq!(data(&answer.additionals), [a_ip.clone(), b_ip.clone()]);
        let [w, x, y, z] = a.ip().octets();
        let reverse = format!("{z}.{y}.{x}.{w}.in-addr.arpa.");
        expect(&host, &reverse, RecordType::PTR, &["db-0.db.shop.svc.cluster.local."]).await;
        expect_none(&host, "db-1.db.shop.svc.cluster.local.").await;
        let soon = std::time::Instant::now() + Duration::from_secs(1);
        dataplane.withdraw(a.ip(), soon).await.unwrap();
        expect(&host, "db.shop.svc.cluster.local.", RecordType::A, &[&b_ip]).await;
    });
}

#[test]
fn pods_ask_the_gateway_and_large_answers_come_by_tcp() {
    on_host(|host| async move {
        let client = host.pod("client");
        host.api.service("many", headless());
        let endpoints: Vec<_> = (2..200).map(|n| json!({"addresses": [format!("10.244.0.{n}")]})).collect();
        host.api.slice("many", json!(endpoints));
        let dataplane = host.start().await;
        let (gateway, name) = (dataplane.nameserver(), "many.shop.svc.cluster.local.");
        let short = asked(Some(&client), gateway, question(name, RecordType::A)).await;
        assert!(short.metadata.truncation && short.answers.is_empty() && short.edns.is_none());
        let mut modern = question(WEB, RecordType::A);
        modern.set_edns(Edns::new());
        assert!(asked(Some(&client), gateway, modern).await.edns.is_some());
        let whole = client.enter(|| {
            let stream = TcpStream::connect((gateway, 53));
            stream.unwrap()
        });
        let ask = move || {
            let mut stream = whole;
            let query = question(name, RecordType::A).to_vec().unwrap();
            stream.write_all(&u16::try_from(query.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&query).unwrap();
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut answer).unwrap();
            Message::from_vec(&answer).unwrap()
        };
        let answer = tokio::task::spawn_blocking(ask).await.unwrap();
        assert_eq!(answer.answers.len(), 198);
    });
}

/// An upstream resolver that knows one name.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buf = [0; 2048];
        while let Ok((len, client)) = socket.recv_from(&mut buf) {
            let query = Message::from_vec(&buf[..len]).unwrap();
            let name = query.queries[0].name().clone();
            let mut answer = Message::response(query.metadata.id, OpCode::Query);
            answer.add_queries(query.queries.iter().cloned());
            if name.to_ascii() == "example.org." {
                answer.add_answer(Record::from_rdata(name, 60, RData::A(A(Ipv4Addr::new(203, 0, 113, 7)))));
            } else {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            let _ = socket.send_to(&answer.to_vec().unwrap(), client);
        }
    });
    address
}

#[test]
fn other_names_are_asked_upstream_past_a_dead_resolver_and_aliases_are_followed() {
    on_host(|mut host| async move {
        let dead = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        host.upstream = vec![dead, upstream()];
        host.api
            .service("inside", json!({"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"}));
        host.api.service("outside", json!({"type": "ExternalName", "externalName": "example.org"}));
        host.api.service("web", cluster_ip("10.96.0.10"));
        let _dataplane = host.start().await;
        let answer = ask(&host, "example.org.", RecordType::A).await;
        assert_eq!(data(&answer.answers), ["203.0.113.7"]);
        let answer = ask(&host, "example.com.", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        expect(&host, "inside.shop.svc.cluster.local.", RecordType::A, &["10.96.0.10", WEB]).await;
        let answer = ask(&host, "outside.shop.svc.cluster.local.", RecordType::A).await;
        assert_eq!(data(&answer.answers), ["203.0.113.7", "example.org."]);
        expect(&host, "outside.shop.svc.cluster.local.", RecordType::CNAME, &["example.org."]).await;
    });
}

#[test]
fn without_an_upstream_other_names_fail_and_rubbish_is_refused() {
    on_host(|host| async move {
        let _dataplane = host.start().await;
        let answer = ask(&host, "example.org.", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        let mut two = question(WEB, RecordType::A);
        two.add_query(Query::query(Name::root(), RecordType::A));
        let answer = asked(None, host.network.gateway(), two).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
    });
}
