//! The server over real sockets, with real certificates.

use super::*;
use crate::fakes::{Diary, FakeApi, FakeEngine, FakeImages};
use crate::{ClusterDns, NoDrain, NodeConfig, NodeServer};
use futures::StreamExt;
use hako_client::{Client, Informers};
use http_body_util::Empty;
use hyper::client::conn::http1 as client_http1;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::collections::BTreeMap;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Certificate and key, PEM.
    fn pair(&self, group: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// What the node shows, until it is told to show another.
#[derive(Debug)]
struct Shown(parking_lot::Mutex<Arc<CertifiedKey>>);

impl Shown {
    fn of(pair: &(String, String)) -> Arc<CertifiedKey> {
        let chain = vec![CertificateDer::from_pem_slice(pair.0.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(pair.1.as_bytes()).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        Arc::new(CertifiedKey::from_der(chain, key, &provider).unwrap())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock()))
    }
}

struct Fixture {
    authority: Authority,
    shown: Arc<Shown>,
    address: SocketAddr,
    engine: Arc<FakeEngine>,
    _dir: tempfile::TempDir,
    _node: crate::NodeHandle,
    api: FakeApi,
}

async fn fixture() -> Fixture {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let diary = Diary::default();
    let api = FakeApi::new(diary.clone());
    let engine = Arc::new(FakeEngine::new(diary, false));
    let client = Client::new(Arc::new(api.clone()));
    let pair = authority.pair("nodes");
    let shown = Arc::new(Shown(Shown::of(&pair).into()));
    let (certificate_pem, key_pem) = pair;
    let config = NodeConfig {
        informers: Informers::new(client.clone()),
        client,
        engine: Arc::<FakeEngine>::clone(&engine),
        images: Arc::new(FakeImages),
        drain: Arc::new(NoDrain),
        node_name: "n1".into(),
        node_ip: [127, 0, 0, 1].into(),
        data_dir: dir.path().join("data"),
        run_dir: dir.path().join("run"),
        pod_cidr: "10.244.0.0/24".into(),
        dns: ClusterDns {
            servers: Vec::new(),
            domain: String::new(),
            host_resolv_conf: "/nonexistent".into(),
        },
        api_server: None,
        server: NodeServer {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            certificate_pem,
            key_pem,
            renewed: Some(Arc::<Shown>::clone(&shown)),
            client_ca_pem: authority.issuer.pem(),
        },
        labels: BTreeMap::new(),
        capacity: BTreeMap::from([("pods".to_owned(), hako_names::Quantity::from_units(7))]),
        version: "v1.36.0+hako".into(),
    };
    let node = crate::Node::start(config).await.unwrap();
    node.ready().await;
    Fixture { authority, shown, address: node.address(), engine, _dir: dir, _node: node, api }
}

async fn connect(fixture: &Fixture, group: Option<&str>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(fixture.authority.issuer.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match group {
        None => builder.with_no_client_auth(),
        Some(group) => {
            let (certificate, key) = fixture.authority.pair(group);
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                .unwrap()
        }
    };
    let stream = TcpStream::connect(fixture.address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn get(fixture: &Fixture, group: Option<&str>, path: &str) -> Option<(StatusCode, String)> {
    let stream = connect(fixture, group).await.ok()?;
    let (mut sender, connection) = client_http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path).header("host", "n1").body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.ok()?;
    let status = response.status();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    driver.abort();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

async fn with_pod() -> Fixture {
    let fixture = fixture().await;
    fixture.api.put(
        "pods",
        json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
               "spec": {"nodeName": "n1", "containers": [{"name": "main", "image": "app"}]}}),
    );
    fixture.api.until(["pods", "shop", "web"], |pod| pod["status"]["phase"] == "Running").await;
    fixture
}

#[tokio::test]
async fn the_node_registers_itself_with_where_its_api_is() {
    let fixture = fixture().await;
    let node = fixture.api.until(["nodes", "", "n1"], |node| !node["status"]["conditions"].is_null()).await;
    let status = &node["status"];
    assert_eq!(status["daemonEndpoints"]["kubeletEndpoint"]["Port"], fixture.address.port());
    assert_eq!(status["capacity"]["pods"], "7");
    let conditions = status["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
    assert_eq!(node["spec"]["podCIDR"], "10.244.0.0/24");
    let lease = fixture.api.until(["leases", "kube-node-lease", "n1"], |lease| !lease.is_null()).await;
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 40);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_at_the_next_connection() {
    let fixture = fixture().await;
    let seen = async || {
        let stream = connect(&fixture, Some("system:masters")).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let first = seen().await;
    assert_eq!(seen().await, first);
    let renewed = Shown::of(&fixture.authority.pair("nodes"));
    *fixture.shown.0.lock() = Arc::clone(&renewed);
    assert_ne!(first, renewed.cert[0]);
    assert_eq!(seen().await, renewed.cert[0]);
}

#[tokio::test]
async fn only_the_cluster_s_own_masters_are_served() {
    let fixture = fixture().await;
    assert_eq!(get(&fixture, None, "/healthz").await, None, "no certificate, no answer");
    let (status, body) = get(&fixture, Some("users"), "/healthz").await.unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("\"kind\":\"Status\""), "{body}");
    let masters = Some("system:masters");
    assert_eq!(get(&fixture, masters, "/healthz").await.unwrap(), (StatusCode::OK, "ok".to_owned()));
    assert_eq!(get(&fixture, masters, "/nothing").await.unwrap().0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pods_and_logs_are_found_by_name() {
    let fixture = with_pod().await;
    let masters = Some("system:masters");
    let (_, pods) = get(&fixture, masters, "/pods").await.unwrap();
    assert!(pods.contains("\"web\""), "{pods}");
    let (status, log) = get(&fixture, masters, "/containerLogs/shop/web/main?tailLines=5").await.unwrap();
    assert_eq!((status, log.as_str()), (StatusCode::OK, ""));
    for (path, code, text) in [
        ("/containerLogs/shop/web/other", 400, "container other is not valid for pod web"),
        ("/containerLogs/shop/none/main", 404, "is not on this node"),
        ("/containerLogs/shop/web/main?previous=true", 400, "previous terminated container"),
        ("/containerLogs/shop/web/main?tailLines=x", 400, "tailLines"),
        ("/exec/shop/web/main?command=ls", 400, "WebSocket"),
        ("/portForward/shop/web", 400, "WebSocket"),
        ("/portForward/shop/none", 404, "is not on this node"),
        ("/exec/shop/web/other?command=ls", 400, "container other is not valid for pod web"),
        ("/attach/shop/web/other", 400, "container other is not valid for pod web"),
    ] {
        let (status, body) = get(&fixture, masters, path).await.unwrap();
        assert_eq!(status.as_u16(), code, "{path}: {body}");
        assert!(body.contains(text), "{path}: {body}");
    }
}

/// What the node says in a WebSocket, until it closes it.
async fn said(fixture: &Fixture, path: &str) -> Vec<Bytes> {
    said_in(fixture, path, "v5.channel.k8s.io, v4.channel.k8s.io", "v5.channel.k8s.io").await
}

/// The same, in the protocol that is taken of those offered.
async fn said_in(fixture: &Fixture, path: &str, offered: &str, taken: &str) -> Vec<Bytes> {
    let stream = connect(fixture, Some("system:masters")).await.unwrap();
    let url = format!("wss://127.0.0.1:{}{path}", fixture.address.port());
    let mut request = url.into_client_request().unwrap();
    if !offered.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", offered.parse().unwrap());
    }
    let (mut socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let answered = response.headers().get("sec-websocket-protocol").map_or("", |name| name.to_str().unwrap());
    assert_eq!(answered, taken);
    let mut messages = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(bytes) => messages.push(bytes),
            Message::Text(text) => messages.push(text.into()),
            Message::Close(_) => break,
            _ => {}
        }
    }
    messages
}

#[tokio::test]
async fn exec_speaks_the_older_channels_and_those_of_who_names_none() {
    let fixture = with_pod().await;
    let path = "/exec/shop/web/main?command=false&output=1&error=1";
    for offered in ["", "channel.k8s.io"] {
        let messages = said_in(&fixture, path, offered, offered).await;
        assert_eq!(&messages[0][..], b"\x01");
        let said = String::from_utf8_lossy(&messages[1]).into_owned();
        assert!(said.starts_with("\u{3}command terminated with non-zero exit code"), "{said}");
    }
    let messages = said_in(&fixture, path, "base64.channel.k8s.io", "base64.channel.k8s.io").await;
    assert_eq!(&messages[0][..], b"1");
    assert!(messages[1].starts_with(b"3Y29tbWFuZCB0ZXJtaW5hdGVk"), "{messages:?}");
}

#[tokio::test]
async fn exec_speaks_the_channels_of_version_5() {
    let fixture = with_pod().await;
    assert_eq!(fixture.engine.running().len(), 1);
    let messages = said(&fixture, "/exec/shop/web/main?command=false&output=1&error=1").await;
    assert_eq!(&messages[0][..], b"\x01");
    let status = String::from_utf8_lossy(&messages[1]).into_owned();
    assert!(status.starts_with('\u{3}') && status.contains("\"ExitCode\""), "{status}");
}

#[tokio::test]
async fn what_hinders_exec_and_attach_is_told_inside_the_web_socket() {
    let fixture = with_pod().await;
    for (path, text) in [
        ("/exec/shop/web/other?command=ls&output=1", "container other is not valid for pod web"),
        ("/attach/shop/web/other?output=1", "container other is not valid for pod web"),
        ("/attach/shop/web/main?output=1", "\"reason\":\"NotImplemented\""),
    ] {
        let messages = said(&fixture, path).await;
        let status = String::from_utf8_lossy(messages.last().unwrap()).into_owned();
        assert!(status.starts_with('\u{3}') && status.contains(text), "{path}: {status}");
    }
}
