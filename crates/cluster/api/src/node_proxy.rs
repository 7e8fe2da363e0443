//! The way to what runs on a node: logs, exec, attach and port-forward, through the node's own HTTPS API.
//!
//! Owns: finding the node of a pod, the connection to it with the server's own certificate, and the tunnel.
//! Does not own: what the node does; not a byte of a stream is looked at here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hako_client::Tls;
use hako_error::{Error, Kind, Result};
use hako_kube::Status;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::http::{Failure, Outcome, Request, answer};
use crate::kinds;
use crate::pki::{KeyPair, Pki};
use crate::proxy;
use crate::resource::{Target, check_log_options};
use crate::server::Inner;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ERROR_BODY_LIMIT: usize = 64 << 10;
/// The protocol on the streams of SPDY, in both directions.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Headers of a request to upgrade that the node has to see.
static PASSED_HEADERS: [HeaderName; 6] = [
    header::UPGRADE,
    header::CONNECTION,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    STREAM_PROTOCOL,
];

/// The client side of connections to nodes.
pub(crate) struct NodeProxy {
    pki: Arc<Pki>,
    /// What was made of the certificate of now, and that.
    tls: Mutex<Option<(Arc<KeyPair>, Arc<ClientConfig>)>>,
}

impl NodeProxy {
    pub(crate) fn new(pki: Arc<Pki>) -> Self {
        Self { pki, tls: Mutex::default() }
    }

    pub(crate) fn tls(&self) -> Result<Arc<ClientConfig>> {
        let pair = self.pki.api_client();
        let mut made = self.tls.lock();
        if let Some((_, tls)) = made.as_ref().filter(|(of, _)| Arc::ptr_eq(of, &pair)) {
            return Ok(Arc::clone(tls));
        }
        let identity = Some((pair.certificate.as_bytes(), pair.key.as_bytes()));
        let mut config = (*Tls::from_pem(self.pki.ca().as_bytes(), identity)?.config()).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = Arc::new(config);
        *made = Some((pair, Arc::clone(&tls)));
        Ok(tls)
    }

    async fn send(
        &self,
        node: &NodeAddress,
        request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>> {
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| {
            let NodeAddress { name, ip, port } = node;
            Error::new(Kind::Unavailable, format!("error dialing node {name:?} at {ip}:{port}"))
                .with_source(source)
        };
        let tls = self.tls()?;
        let connect = async {
            let stream = TcpStream::connect((node.ip, node.port)).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(tls).connect(ServerName::from(node.ip), stream).await
        };
        let stream = tokio::time::timeout(CONNECT_LIMIT, connect)
            .await
            .map_err(|error| unreachable(error.into()))?
            .map_err(|error| unreachable(error.into()))?;
        proxy::exchange(stream, request).await.map_err(|error| unreachable(error.into()))
    }
}

/// Where a node's API is.
pub(crate) struct NodeAddress {
    name: String,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
}

/// Streams a container's log.
pub(crate) async fn log(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    check_log_options(&request.query, &target.name)?;
    let (node, container) = locate(server, request, target).await?;
    let path = path("containerLogs", target, &container, request);
    let response = server.proxy.send(&node, node_request(&node, &path, &HeaderMap::new())?).await?;
    let status = response.status();
    if !status.is_success() {
        return Err(refused(status, response.into_body()).await);
    }
    let body = response
        .into_body()
        .map_err(|error| Error::new(Kind::Unavailable, "the node's log broke off").with_source(error));
    let mut streamed = http::Response::new(body.boxed_unsync());
    streamed.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(streamed)
}

/// Runs a command in a container (`exec`), joins its main process (`attach`) or connects to its pod's ports
/// (`portforward`): joins the client's upgraded connection to one to the node.
pub(crate) async fn tunnel(
    server: &Arc<Inner>,
    mut request: Request,
    target: &Target,
    part: &str,
) -> Outcome {
    let (node, path) = if part == "portforward" {
        let Target { namespace, name, .. } = target;
        let query = request.query.encode_without("");
        (
            node_of(server, &pod(server, target).await?, name).await?,
            format!("/portForward/{namespace}/{name}?{query}"),
        )
    } else {
        let (node, container) = locate(server, &request, target).await?;
        (node, path(part, target, &container, &request))
    };
    // Only now: who asks for what is not there is told that, however the question came.
    let Some(upgrade) = request.upgrade.take() else {
        return Err(Failure::bad_request("Upgrade request required"));
    };
    let response = server.proxy.send(&node, node_request(&node, &path, &request.headers)?).await?;
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(status, response.into_body()).await);
    }
    Ok(join(upgrade, request.slot.take(), response))
}

/// Joins a client's connection to the one that a response has become; gives the client's answer.
pub(crate) fn join(
    near: hyper::upgrade::OnUpgrade,
    slot: Option<crate::http::LongPlace>,
    mut response: http::Response<Incoming>,
) -> answer::Answer {
    let far = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let _slot = slot;
        let (near, far) = match tokio::try_join!(near, far) {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "upgrade failed"),
        };
        let joined = tokio::io::copy_bidirectional(&mut TokioIo::new(near), &mut TokioIo::new(far)).await;
        if let Err(error) = joined {
            tracing::debug!(%error, "joined stream ended");
        }
    });
    let mut switched = answer::respond(StatusCode::SWITCHING_PROTOCOLS, "text/plain", Bytes::new());
    *switched.headers_mut() = std::mem::take(response.headers_mut());
    // There is no body, whatever was said of one.
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONTENT_TYPE] {
        switched.headers_mut().remove(name);
    }
    switched
}

fn path(kind: &str, target: &Target, container: &str, request: &Request) -> String {
    let Target { namespace, name, .. } = target;
    let query = request.query.encode_without("container");
    format!("/{kind}/{namespace}/{name}/{container}?{query}")
}

fn node_request(node: &NodeAddress, path: &str, headers: &HeaderMap) -> Outcome<http::Request<Full<Bytes>>> {
    let mut builder =
        http::Request::builder().uri(path).header(header::HOST, format!("{}:{}", node.ip, node.port));
    for name in &PASSED_HEADERS {
        for value in headers.get_all(name) {
            builder = builder.header(name, value);
        }
    }
    builder
        .body(Full::default())
        .map_err(|_| Failure::bad_request("the request cannot be passed on to the node"))
}

/// The node's refusal in its own words.
async fn refused(status: StatusCode, body: Incoming) -> Failure {
    let bytes =
        Limited::new(body, ERROR_BODY_LIMIT).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if let Ok(status) = serde_json::from_slice::<Status>(&bytes)
        && status.kind == "Status"
    {
        return status.into();
    }
    let reason = match status.as_u16() {
        400 => "BadRequest",
        404 => "NotFound",
        501 => "NotImplemented",
        _ => "InternalError",
    };
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    let text = if text.is_empty() { format!("the node answered {status}") } else { text };
    Status::failure(status.as_u16(), reason, text).into()
}

/// The node a pod is on, and the container meant.
async fn locate(server: &Inner, request: &Request, target: &Target) -> Outcome<(NodeAddress, String)> {
    let pod = pod(server, target).await?;
    let container = container(&pod, request.query.text("container"), &target.name)?;
    Ok((node_of(server, &pod, &target.name).await?, container))
}

async fn pod(server: &Inner, target: &Target) -> Outcome<Value> {
    let entry = target.read(&*server.config.store).await?;
    Ok(serde_json::from_slice(&entry.value).unwrap_or_default())
}

async fn node_of(server: &Inner, pod: &Value, pod_name: &str) -> Outcome<NodeAddress> {
    let name = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or("");
    if name.is_empty() {
        return Err(Failure::bad_request(format!("pod {pod_name} does not have a host assigned")));
    }
    node_address(server, name).await
}

/// Where a node says that its API is.
pub(crate) async fn node_address(server: &Inner, name: &str) -> Outcome<NodeAddress> {
    let row = kinds::by_resource("", "v1", "nodes").ok_or_else(Failure::no_such_path)?;
    let node = Target { row: Arc::clone(row), namespace: String::new(), name: name.to_owned() };
    let entry = node.read(&*server.config.store).await?;
    let node: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array);
    let ip = addresses
        .into_iter()
        .flatten()
        .find(|address| address.get("type").is_some_and(|kind| kind == "InternalIP"))
        .and_then(|address| address.get("address")?.as_str()?.parse().ok());
    let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64);
    let port = port.and_then(|port| u16::try_from(port).ok());
    let (Some(ip), Some(port)) = (ip, port) else {
        let text = format!("node {name:?} has not published the address of its API yet");
        return Err(Error::new(Kind::Unavailable, text).into());
    };
    Ok(NodeAddress { name: name.to_owned(), ip, port })
}

/// The container asked for; without a wish the annotated or the only one.
fn container(pod: &Value, wanted: Option<&str>, pod_name: &str) -> Outcome<String> {
    let of = |list: &str| -> Vec<&str> {
        let items = pod.pointer(list).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|container| container.get("name")?.as_str()).collect()
    };
    let (main, init) = (of("/spec/containers"), of("/spec/initContainers"));
    let added = of("/spec/ephemeralContainers");
    let annotated = pod
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(DEFAULT_CONTAINER))
        .and_then(Value::as_str);
    match (wanted, annotated, main.as_slice()) {
        (Some(name), ..) if [&main, &init, &added].iter().any(|list| list.contains(&name)) => {
            Ok(name.to_owned())
        }
        (Some(name), ..) => {
            Err(Failure::bad_request(format!("container {name} is not valid for pod {pod_name}")))
        }
        (None, Some(name), _) if main.contains(&name) => Ok(name.to_owned()),
        (None, _, [only]) => Ok((*only).to_owned()),
        (None, ..) => {
            let mut text = format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                main.join(" ")
            );
            if !init.is_empty() {
                text = format!("{text} or one of the init containers: [{}]", init.join(" "));
            }
            Err(Failure::bad_request(text))
        }
    }
}
