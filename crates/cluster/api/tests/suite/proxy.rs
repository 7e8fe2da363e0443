//! The subresource `proxy`: what pods, services and nodes serve, through the API server.

use std::process::Stdio;

use bytes::Bytes;
use hako_client::Patch;
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::contract::{from, pod};
use crate::raw::Raw;
use crate::registered::hook_server::{HookServer, patched};
use crate::registered::webhooks::{hook, register_hooks};
use crate::support::World;

/// An address of this machine that is no loopback, which endpoints may not have. Nothing is sent to find it out.
pub fn own_address() -> String {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").unwrap();
    socket.local_addr().unwrap().ip().to_string()
}

/// A server that answers with the head and the body of what it was asked, and echoes what it is upgraded to.
async fn echo_server() -> u16 {
    let listener = TcpListener::bind((own_address(), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    port
}

async fn echo(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while stream.read_line(&mut head).await.unwrap_or(0) > 2 {}
    if head.contains("pgrade: echo") {
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut piece = [0; 64];
        while let Ok(size @ 1..) = stream.read(&mut piece).await {
            stream.write_all(&piece[..size]).await.unwrap();
            stream.flush().await.unwrap();
        }
        return;
    }
    if head.contains("/page") {
        let page = "<p>/a</p><a href=\"/a\">a</a>";
        let is_small = head.contains("ccept-encoding: gzip");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, page.as_bytes()).unwrap();
        let body = if is_small { packed.finish().unwrap() } else { page.as_bytes().to_vec() };
        let coding = if is_small { "\r\nContent-Encoding: gzip" } else { "" };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html; charset=utf-8{coding}\r\n\
             Content-Length: {length}\r\n\r\n",
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        stream.flush().await.unwrap();
        return;
    }
    let status = if head.contains("/moved") { "302 Found\r\nLocation: /elsewhere" } else { "200 OK" };
    let answer =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{head}", head.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// A pod and a service whose address is this machine's own.
async fn world(port: u16) -> World {
    let world = World::start().await;
    let client = world.inside();
    let pods = client.namespaced::<Pod>("default");
    pods.create(&pod("p")).await.unwrap();
    pods.patch_status("p", &Patch::Merge(json!({"status": {"podIP": own_address()}}))).await.unwrap();
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [
        {"name": "main", "port": 80}, {"name": "empty", "port": 81},
    ]}});
    client.namespaced::<Service>("default").create(&from(service)).await.unwrap();
    let slice = json!({
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
        "ports": [{"name": "main", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [own_address()], "conditions": {"ready": true}}],
    });
    client.namespaced::<EndpointSlice>("default").create(&from(slice)).await.unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_and_services_are_reached_by_name_and_port() {
    let port = echo_server().await;
    let world = world(port).await;
    for name in [format!("pods/p:{port}"), "services/web:main".into(), "services/http:web:80".into()] {
        let path = format!("/api/v1/namespaces/default/{name}/proxy/a/b//c?x=1&y=2");
        let seen = world.kubectl(&["get", "--raw", &path]).await;
        assert!(seen.starts_with("GET /a/b//c?x=1&y=2 HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains(&format!("host: {}:{port}\r\n", own_address())), "{seen}");
        assert!(seen.contains("x-forwarded-prefix: /api/v1/namespaces/default/"), "{seen}");
        assert!(!seen.to_ascii_lowercase().contains("authorization"), "{seen}");
    }
    let unreachable = format!("error trying to reach service: {}:1", own_address());
    for (name, why) in [
        ("services/web:empty", "no endpoints available for service \"web\""),
        ("services/web:none", "no service port \"none\" found for service \"web\""),
        ("services/nosuch", "services \"nosuch\" not found"),
        ("pods/p:1", unreachable.as_str()),
        ("pods/ftp:p:1", "invalid name"),
    ] {
        let path = format!("/api/v1/namespaces/default/{name}/proxy/");
        let (success, _, error) = world.try_kubectl(&["get", "--raw", &path], "").await;
        assert!(!success && error.contains(why), "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_this_machine_alone_are_not_proxied_to() {
    let world = world(echo_server().await).await;
    let pods = world.inside().namespaced::<Pod>("default");
    for address in ["169.254.169.254", "0.0.0.0"] {
        pods.patch_status("p", &Patch::Merge(json!({"status": {"podIP": address}}))).await.unwrap();
        let path = "/api/v1/namespaces/default/pods/p/proxy/";
        let (success, _, error) = world.try_kubectl(&["get", "--raw", path], "").await;
        assert!(!success && error.contains("address not allowed"), "{error}");
    }
}

/// `kubectl proxy`, which ends with its world.
async fn kubectl_proxy(world: &World) -> (tokio::process::Child, String) {
    let mut command = tokio::process::Command::new("kubectl");
    command.env("KUBECONFIG", &world.kubeconfig).args(["proxy", "--port=0"]);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    (child, address)
}

async fn ask(address: &str, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = request.replace(" HTTP/1.1\n", " HTTP/1.1\nHost: localhost\n");
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    stream
}

async fn all_of(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_redirects_and_upgrades_pass_through_kubectl_proxy() {
    let port = echo_server().await;
    let world = world(port).await;
    let (_child, address) = kubectl_proxy(&world).await;
    let base = "/api/v1/namespaces/default/services/web:main/proxy";
    let moved =
        all_of(ask(&address, &format!("GET {base}/moved HTTP/1.1\nConnection: close\n\n")).await).await;
    assert!(moved.to_ascii_lowercase().contains(&format!("location: {base}/elsewhere\r\n")), "{moved}");
    let bare = all_of(ask(&address, &format!("GET {base}?a=b HTTP/1.1\nConnection: close\n\n")).await).await;
    assert!(bare.contains(" 301 ") && bare.contains(&format!("{base}/?a=b")), "{bare}");
    let deleted =
        all_of(ask(&address, &format!("DELETE {base}/x HTTP/1.1\nConnection: close\n\n")).await).await;
    assert!(deleted.contains("DELETE /x HTTP/1.1"), "{deleted}");

    let upgrade = format!("GET {base}/ HTTP/1.1\nConnection: Upgrade\nUpgrade: echo\n\n");
    let mut stream = BufReader::new(ask(&address, &upgrade).await);
    let mut head = String::new();
    while stream.read_line(&mut head).await.unwrap() > 2 {}
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_in_proxied_pages_lead_through_the_proxy() {
    let port = echo_server().await;
    let world = world(port).await;
    let base = "/api/v1/namespaces/default/services/web:main/proxy";
    for headers in ["Connection: close\r\n", "Connection: close\r\nAccept-Encoding: gzip\r\n"] {
        let mut raw = Raw::admin(&world).await;
        let head = raw.request(&format!("GET {base}/page"), headers).await.head().await;
        assert!(head.starts_with("http/1.1 200 ") && !head.contains("content-length"), "{head}");
        let mut page = String::new();
        raw.0.read_to_string(&mut page).await.unwrap();
        assert!(page.contains(&format!("<p>/a</p><a href=\"{base}/a\">a</a>")), "{headers}{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_s_other_ports_are_reached_through_it() {
    let port = echo_server().await;
    let world = World::start().await;
    let nodes = world.inside().all::<Node>();
    nodes.create(&from(json!({"metadata": {"name": "n1"}}))).await.unwrap();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": own_address()}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 1}},
    }});
    nodes.patch_status("n1", &Patch::Merge(status)).await.unwrap();
    let seen = world.kubectl(&["get", "--raw", &format!("/api/v1/nodes/n1:{port}/proxy/metrics")]).await;
    assert!(seen.starts_with("GET /metrics HTTP/1.1"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_passes_to_pods_services_and_nodes() {
    let port = echo_server().await;
    let world = world(port).await;
    let nodes = world.inside().all::<Node>();
    nodes.create(&from(json!({"metadata": {"name": "n1"}}))).await.unwrap();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": own_address()}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 1}},
    }});
    nodes.patch_status("n1", &Patch::Merge(status)).await.unwrap();
    let namespaced = "/api/v1/namespaces/default";
    for place in [
        format!("{namespaced}/pods/p:{port}"),
        format!("{namespaced}/services/web:main"),
        format!("/api/v1/nodes/n1:{port}"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let path = format!("{place}/proxy/x?y=z");
            let request = http::Request::builder().method(method).uri(&path).body(Bytes::new()).unwrap();
            let answer = world.outside().send(request).await.unwrap();
            assert_eq!(answer.status(), 200, "{method} {path}");
            let seen = answer.into_body().collect().await.unwrap().to_bytes();
            let seen = String::from_utf8_lossy(&seen);
            assert!(seen.starts_with(&format!("{method} /x?y=z HTTP/1.1\r\n")), "{path}: {seen}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_may_send_a_proxied_request_to_another_path() {
    let port = echo_server().await;
    let world = world(port).await;
    let server = HookServer::start(|_, review| {
        let path = review["request"]["object"]["path"].as_str().unwrap().replace("/old/", "/new/");
        patched(&json!([{"op": "replace", "path": "/path", "value": path}]))
    })
    .await;
    let rules = json!({"rules": [{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"], "resources": ["services/proxy"],
    }]});
    register_hooks(&world, "Mutating", "paths", &[hook(&server, "paths", rules)]).await;
    for (asked, seen) in [("old/a?x=1", "GET /new/a?x=1 HTTP/1.1"), ("other", "GET /other HTTP/1.1")] {
        let path = format!("/api/v1/namespaces/default/services/web:main/proxy/{asked}");
        let answer = world.kubectl(&["get", "--raw", &path]).await;
        assert!(answer.starts_with(seen), "{answer}");
    }
    let request = &server.asked()[0].review["request"];
    assert_eq!(
        request["object"],
        json!({"kind": "ServiceProxyOptions", "apiVersion": "v1", "path": "/old/a"})
    );
}
