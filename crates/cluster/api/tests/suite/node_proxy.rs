//! Logs and exec through a node's HTTPS API, with a node that answers from a script.

use std::net::{IpAddr, Ipv4Addr};

use futures::{SinkExt as _, StreamExt as _};
use hako_client::Patch;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::contract::{from, pod};
use crate::raw::Raw;
use crate::registered::hook_server::{HookServer, patched};
use crate::registered::settled;
use crate::registered::webhooks::{hook, register_hooks};
use crate::support::World;
use crate::tls::acceptor;

/// A listener with a node's certificate that lets in only clients of the same authority.
async fn node_listener(world: &World) -> (TcpListener, TlsAcceptor) {
    let pair = world.pki.node_server("n1", &[IpAddr::V4(Ipv4Addr::LOCALHOST)]).unwrap();
    let acceptor = acceptor(&pair.certificate, &pair.key, Some(world.pki.ca()));
    (TcpListener::bind("127.0.0.1:0").await.unwrap(), acceptor)
}

/// A pod on a node whose API is at `port`.
async fn pod_on_node(world: &World, port: u16) {
    let nodes = world.inside().all::<Node>();
    nodes.create(&from(json!({"metadata": {"name": "n1"}}))).await.unwrap();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }});
    nodes.patch_status("n1", &Patch::Merge(status)).await.unwrap();
    let pods = world.inside().namespaced::<Pod>("default");
    pods.create(&pod("p")).await.unwrap();
    pods.bind("p", None, "n1").await.unwrap();
    let running = Patch::Merge(json!({"status": {"phase": "Running"}}));
    pods.patch_status("p", &running).await.unwrap();
}

async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor) -> TlsStream<TcpStream> {
    acceptor.accept(listener.accept().await.unwrap().0).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_stream_from_the_node_of_the_pod() {
    let world = World::start().await;
    let (listener, acceptor) = node_listener(&world).await;
    pod_on_node(&world, listener.local_addr().unwrap().port()).await;
    let node = tokio::spawn(async move {
        let mut stream = accept(&listener, &acceptor).await;
        let mut head = vec![0; 4096];
        let size = stream.read(&mut head).await.unwrap();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\none\ntwo\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        String::from_utf8_lossy(&head[..size]).into_owned()
    });
    assert_eq!(world.kubectl(&["logs", "p", "--tail=2"]).await, "one\ntwo\n");
    let asked = node.await.unwrap();
    assert!(asked.starts_with("GET /containerLogs/default/p/main?tailLines=2 HTTP/1.1"), "{asked}");
    let (success, _, error) = world.try_kubectl(&["logs", "p", "-c", "nope"], "").await;
    assert!(!success && error.contains("container nope is not valid for pod p"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_an_upgrade_is_refused_after_what_it_names_is_looked_for() {
    let world = World::start().await;
    let (listener, _acceptor) = node_listener(&world).await;
    pod_on_node(&world, listener.local_addr().unwrap().port()).await;
    world.inside().namespaced::<Pod>("default").create(&pod("q")).await.unwrap();
    let base = "/api/v1/namespaces/default/pods";
    for (path, code, told) in [
        ("gone/exec?command=ls", 404, "pods \"gone\" not found"),
        ("gone/portforward", 404, "pods \"gone\" not found"),
        ("p/exec?command=ls&container=nope", 400, "container nope is not valid for pod p"),
        ("q/exec?command=ls", 400, "pod q does not have a host assigned"),
        ("q/portforward", 400, "pod q does not have a host assigned"),
        ("p/exec?command=ls", 400, "Upgrade request required"),
        ("p/attach", 400, "Upgrade request required"),
        ("p/portforward", 400, "Upgrade request required"),
    ] {
        let mut raw = Raw::admin(&world).await;
        raw.request(&format!("POST {base}/{path}"), "Content-Length: 0\r\n").await;
        let status = raw.status().await;
        let body: Value = serde_json::from_str(&raw.rest().await).unwrap();
        assert_eq!((status, body["message"].as_str().unwrap()), (code, told), "{path}");
    }
}

/// What a WebSocket says from its beginning to its end; none where the handshake is refused.
async fn heard(world: &World, path: &str, protocol: &str) -> Option<Vec<Message>> {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let stream = Raw::admin(world).await.0;
    let mut request =
        format!("wss://{}{path}", world.url.trim_start_matches("https://")).into_client_request().unwrap();
    if !protocol.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    }
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await.ok()?;
    let messages = socket.map(Result::unwrap).filter(|message| std::future::ready(!message.is_close()));
    Some(tokio::time::timeout(crate::raw::DEADLINE, messages.collect()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_watches_are_followed_over_web_sockets() {
    let world = World::start().await;
    let (listener, acceptor) = node_listener(&world).await;
    pod_on_node(&world, listener.local_addr().unwrap().port()).await;
    tokio::spawn(async move {
        loop {
            let mut stream = accept(&listener, &acceptor).await;
            let mut head = vec![0; 4096];
            let size = stream.read(&mut head).await.unwrap();
            assert!(!String::from_utf8_lossy(&head[..size]).to_lowercase().contains("upgrade"));
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\none\ntwo\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    let path = "/api/v1/namespaces/default/pods/p/log?container=main";
    for protocol in ["", "binary.k8s.io"] {
        let said = heard(&world, path, protocol).await.unwrap();
        assert!(said.iter().all(Message::is_binary), "{said:?}");
        let bytes: Vec<u8> = said.into_iter().flat_map(Message::into_data).collect();
        assert_eq!(bytes, b"one\ntwo\n", "{protocol}");
    }
    let said = heard(&world, path, "base64.binary.k8s.io").await.unwrap();
    assert_eq!(said, [Message::text("b25lCnR3bwo=")]);
    assert!(heard(&world, path, "v4.channel.k8s.io").await.is_none());
    let path = "/api/v1/namespaces/default/pods?watch=1&timeoutSeconds=1";
    let said = heard(&world, path, "").await.unwrap();
    let event: Value = serde_json::from_str(said[0].to_text().unwrap()).unwrap();
    assert!(event["type"] == "ADDED" && event["object"]["metadata"]["name"] == "p", "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_is_a_web_socket_through_to_the_node() {
    let world = World::start().await;
    let (listener, acceptor) = node_listener(&world).await;
    pod_on_node(&world, listener.local_addr().unwrap().port()).await;
    let node = tokio::spawn(async move {
        let stream = accept(&listener, &acceptor).await;
        let mut asked = String::new();
        #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
        let shake = |request: &Request, mut response: Response| {
            asked = request.uri().to_string();
            let protocol = "v5.channel.k8s.io".parse().unwrap();
            response.headers_mut().insert("sec-websocket-protocol", protocol);
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, shake).await.unwrap();
        socket.send(Message::binary(b"\x01from the node\n".to_vec())).await.unwrap();
        let end = b"\x03{\"status\":\"Success\",\"metadata\":{}}".to_vec();
        socket.send(Message::binary(end)).await.unwrap();
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        socket.close(Some(normal)).await.unwrap();
        while socket.next().await.is_some_and(|message| message.is_ok()) {}
        asked
    });
    assert_eq!(world.kubectl(&["exec", "p", "--", "echo", "a b"]).await, "from the node\n");
    let asked = node.await.unwrap();
    assert!(asked.starts_with("/exec/default/p/main?"), "{asked}");
    assert!(asked.contains("command=echo&command=a%20b") && asked.contains("stdout=true"), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_shows_why_exec_and_attach_are_refused() {
    let world = World::start().await;
    let (listener, _) = node_listener(&world).await;
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    pod_on_node(&world, port).await;
    world.inside().namespaced::<Pod>("default").create(&pod("early")).await.unwrap();
    for (arguments, why) in [
        (&["exec", "p", "-c", "nosuch", "--", "ls"][..], "container nosuch is not valid for pod p"),
        (&["exec", "early", "--", "ls"], "pod early does not have a host assigned"),
        (&["exec", "p", "--", "ls"], "error dialing node \"n1\""),
        (&["attach", "p"], "error dialing node \"n1\""),
    ] {
        let (success, _, error) = world.try_kubectl(arguments, "").await;
        assert!(!success && error.contains(why) && !error.contains("SPDY"), "{arguments:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_shown_with_its_exit_code() {
    let world = World::start().await;
    let (listener, acceptor) = node_listener(&world).await;
    pod_on_node(&world, listener.local_addr().unwrap().port()).await;
    let node = tokio::spawn(async move {
        let stream = accept(&listener, &acceptor).await;
        #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
        let shake = |_: &Request, mut response: Response| {
            let protocol = "v5.channel.k8s.io".parse().unwrap();
            response.headers_mut().insert("sec-websocket-protocol", protocol);
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, shake).await.unwrap();
        socket.send(Message::binary(b"\x02exec failed: no nosuch\n".to_vec())).await.unwrap();
        let status = json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "127"}]},
        });
        socket.send(Message::binary(format!("\x03{status}").into_bytes())).await.unwrap();
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        socket.close(Some(normal)).await.unwrap();
        while socket.next().await.is_some_and(|message| message.is_ok()) {}
    });
    let (success, _, error) = world.try_kubectl(&["exec", "p", "--", "nosuch"], "").await;
    node.await.unwrap();
    assert!(!success && error.contains("exec failed: no nosuch\n"), "{error}");
    assert!(error.contains("command terminated with exit code 127"), "{error}");
}

/// Switches to what is asked for, and says in it what was asked.
async fn switch(mut stream: TlsStream<TcpStream>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let line = String::from_utf8(head).unwrap().lines().next().unwrap().to_owned();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n{line}\n"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut word = [0; 5];
    stream.read_exact(&mut word).await.unwrap();
    stream.write_all(&word).await.unwrap();
    stream.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_begin_by_get_and_by_post_and_carry_what_either_side_says() {
    let world = World::start().await;
    let (listener, acceptor) = node_listener(&world).await;
    pod_on_node(&world, listener.local_addr().unwrap().port()).await;
    let node = tokio::spawn(async move {
        for _ in 0..6 {
            switch(accept(&listener, &acceptor).await).await;
        }
    });
    for method in ["GET", "POST"] {
        for (part, asked) in [
            ("exec?command=ls&stdout=1", "GET /exec/default/p/main?command=ls&stdout=1 "),
            ("attach?stdout=1", "GET /attach/default/p/main?stdout=1 "),
            ("portforward", "GET /portForward/default/p"),
        ] {
            let mut raw = Raw::admin(&world).await;
            let upgrade = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
            raw.request(&format!("{method} /api/v1/namespaces/default/pods/p/{part}"), upgrade).await;
            let head = raw.head().await;
            assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: spdy/3.1\r\n"), "{head}");
            let mut line = raw.rest().await;
            while !line.ends_with('\n') {
                line.push_str(&raw.rest().await);
            }
            assert!(line.starts_with(asked), "{method} {part}: {line}");
            raw.send("hello").await;
            assert_eq!(raw.rest().await, "hello", "{method} {part}");
        }
    }
    node.await.unwrap();
    for part in ["exec?command=ls", "attach", "portforward"] {
        let mut raw = Raw::admin(&world).await;
        raw.request(&format!("POST /api/v1/namespaces/default/pods/p/{part}"), "").await;
        assert_eq!(raw.status().await, 400, "{part} without an upgrade");
    }
}

/// The line that a node says.
async fn line(raw: &mut Raw) -> String {
    let mut line = raw.rest().await;
    while !line.ends_with('\n') {
        line.push_str(&raw.rest().await);
    }
    line
}

/// A webhook that changes what sessions ask for.
async fn changing(world: &World, patch: Value) -> HookServer {
    let server = HookServer::start(move |_, _| patched(&patch)).await;
    let rules = json!({"rules": [{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"],
        "resources": ["pods/exec", "pods/attach", "pods/portforward"],
    }]});
    register_hooks(world, "Mutating", "sessions", &[hook(&server, "sessions", rules)]).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_makes_of_a_session_is_what_the_node_is_asked_for() {
    let world = World::start().await;
    let (listener, acceptor) = node_listener(&world).await;
    pod_on_node(&world, listener.local_addr().unwrap().port()).await;
    let patch = json!([
        {"op": "add", "path": "/command", "value": ["id", "-u"]},
        {"op": "add", "path": "/container", "value": "main"},
        {"op": "add", "path": "/stdin", "value": false},
    ]);
    let server = changing(&world, patch).await;
    let node = tokio::spawn(async move { switch(accept(&listener, &acceptor).await).await });
    let mut raw = Raw::admin(&world).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
    let path = "/api/v1/namespaces/default/pods/p/exec?container=nosuch&command=sh&stdin=true&stdout=true";
    raw.request(&format!("POST {path}"), upgrade).await;
    let head = raw.head().await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    let line = line(&mut raw).await;
    let wanted = "GET /exec/default/p/main?command=id&command=-u&stdout=true ";
    assert!(line.starts_with(wanted), "{line}");
    raw.send("hello").await;
    assert_eq!(raw.rest().await, "hello");
    node.await.unwrap();
    let asked = server.asked()[0].review["request"]["object"].clone();
    let wanted = json!({
        "kind": "PodExecOptions", "apiVersion": "v1", "stdin": true, "stdout": true, "container": "nosuch",
        "command": ["sh"],
    });
    assert_eq!(asked, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_makes_nonsense_of_a_session_ends_it_by_name() {
    let world = World::start().await;
    pod_on_node(&world, 1).await;
    let _server = changing(&world, json!([{"op": "add", "path": "/command", "value": "id"}])).await;
    let (success, _, error) = world.try_kubectl(&["exec", "p", "--", "ls"], "").await;
    let text = "a webhook made of PodExecOptions what is none: command has the wrong type";
    assert!(!success && error.contains(text), "{error}");
}

/// Refuses some sessions by what they ask for.
const POLICIES: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: sessions}
spec:
  matchConstraints: RULES
  validations:
  - expression: "!has(object.command) || object.command[0] != 'rm'"
    message: nothing is removed
  - expression: "!has(object.ports) || object.ports.all(port, port > 1024)"
    message: no low ports
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: sessions}
spec: {policyName: sessions, validationActions: [Deny]}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn policies_refuse_sessions_by_what_they_ask_for() {
    let world = World::start().await;
    let (listener, acceptor) = node_listener(&world).await;
    pod_on_node(&world, listener.local_addr().unwrap().port()).await;
    let rules = json!({"resourceRules": [{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CONNECT"], "resources": ["pods/exec", "pods/portforward"],
    }]});
    world.kubectl_with(&["apply", "-f", "-"], &POLICIES.replace("RULES", &rules.to_string())).await;
    settled(&world).await;
    for (path, why) in
        [("exec?command=rm&stdout=true", "nothing is removed"), ("portforward?ports=80", "no low ports")]
    {
        let mut raw = Raw::admin(&world).await;
        let upgrade = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
        raw.request(&format!("POST /api/v1/namespaces/default/pods/p/{path}"), upgrade).await;
        let head = raw.head().await;
        assert!(head.starts_with("http/1.1 422 "), "{head}");
        let said = raw.rest().await;
        assert!(said.contains(why), "{said}");
    }
    let node = tokio::spawn(async move { switch(accept(&listener, &acceptor).await).await });
    let mut raw = Raw::admin(&world).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
    raw.request("POST /api/v1/namespaces/default/pods/p/exec?command=ls&stdout=true", upgrade).await;
    let head = raw.head().await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    let line = line(&mut raw).await;
    assert!(line.starts_with("GET /exec/default/p/main?command=ls&stdout=true "), "{line}");
    raw.send("hello").await;
    assert_eq!(raw.rest().await, "hello");
    node.await.unwrap();
}
