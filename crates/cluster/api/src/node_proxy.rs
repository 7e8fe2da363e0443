//! The way to what runs on a node: logs and exec, through the node's own HTTPS API.
//!
//! Owns: finding the node of a pod, the connection to it with the server's own certificate, and the tunnel.
//! Does not own: what the node does; not a byte of a stream is looked at here.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use hako_client::Tls;
use hako_error::{Error, Kind, Result};
use hako_kube::Status;
use hako_kube::status::Subject;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::http::{Failure, Outcome, Request, answer};
use crate::kinds;
use crate::pki::Pki;
use crate::resource::Target;
use crate::server::Inner;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ERROR_BODY_LIMIT: usize = 64 << 10;
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Headers of a request to upgrade that the node has to see.
const PASSED_HEADERS: &[HeaderName] = &[
    header::UPGRADE,
    header::CONNECTION,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
];

/// The client side of connections to nodes.
pub(crate) struct NodeProxy {
    pki: Arc<Pki>,
    tls: OnceLock<Arc<ClientConfig>>,
}

impl NodeProxy {
    pub(crate) fn new(pki: Arc<Pki>) -> Self {
        Self { pki, tls: OnceLock::new() }
    }

    fn tls(&self) -> Result<Arc<ClientConfig>> {
        if let Some(tls) = self.tls.get() {
            return Ok(Arc::clone(tls));
        }
        let pair = self.pki.api_client();
        let identity = Some((pair.certificate.as_bytes(), pair.key.as_bytes()));
        let mut config = (*Tls::from_pem(self.pki.ca().as_bytes(), identity)?.config()).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::clone(self.tls.get_or_init(|| Arc::new(config))))
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
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(error.into()))?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to node ended");
            }
        });
        sender.send_request(request).await.map_err(|error| unreachable(error.into()))
    }
}

/// Where a node's API is.
struct NodeAddress {
    name: String,
    ip: IpAddr,
    port: u16,
}

/// Streams a container's log.
pub(crate) async fn log(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    let (node, container) = locate(server, request, target).await?;
    let path = path("containerLogs", target, &container, request);
    let response = server.proxy.send(&node, node_request(&node, "GET", &path, request)?).await?;
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

/// Runs a command in a container (`exec`) or joins its main process (`attach`): joins the client's upgraded
/// connection to one to the node.
pub(crate) async fn tunnel(
    server: &Arc<Inner>,
    mut request: Request,
    target: &Target,
    part: &str,
) -> Outcome {
    let Some(upgrade) = request.upgrade.take() else {
        return Err(Failure::bad_request(
            "Upgrade request required: exec and attach are WebSockets (v5.channel.k8s.io)",
        ));
    };
    // Also asked for SPDY, which the node refuses after its other checks: kubectl shows the answer to its second
    // attempt only, and that has to be the fault itself where there is one.
    let (node, container) = locate(server, &request, target).await?;
    let path = path(part, target, &container, &request);
    let mut response = server.proxy.send(&node, node_request(&node, "GET", &path, &request)?).await?;
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(status, response.into_body()).await);
    }
    let far = hyper::upgrade::on(&mut response);
    let slot = request.slot.take();
    tokio::spawn(async move {
        let _slot = slot;
        let (near, far) = match tokio::try_join!(upgrade, far) {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "upgrade failed"),
        };
        let joined = tokio::io::copy_bidirectional(&mut TokioIo::new(near), &mut TokioIo::new(far)).await;
        if let Err(error) = joined {
            tracing::debug!(%error, "exec stream ended");
        }
    });
    let mut switched = answer::respond(StatusCode::SWITCHING_PROTOCOLS, "text/plain", Bytes::new());
    switched.headers_mut().clear();
    for name in [
        header::UPGRADE,
        header::CONNECTION,
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::SEC_WEBSOCKET_EXTENSIONS,
    ] {
        if let Some(value) = response.headers().get(&name) {
            switched.headers_mut().insert(name, value.clone());
        }
    }
    Ok(switched)
}

/// What is not built.
pub(crate) fn unsupported(part: &str, subject: &Subject) -> Failure {
    let text = format!("{part} is not supported by this server; log, exec and attach are");
    Failure::from(Status::failure(501, "NotImplemented", text)).of(subject)
}

fn path(kind: &str, target: &Target, container: &str, request: &Request) -> String {
    let Target { namespace, name, .. } = target;
    let query = request.query.encode_without("container");
    format!("/{kind}/{namespace}/{name}/{container}?{query}")
}

fn node_request(
    node: &NodeAddress,
    method: &str,
    path: &str,
    request: &Request,
) -> Outcome<http::Request<Full<Bytes>>> {
    let mut builder = http::Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, format!("{}:{}", node.ip, node.port));
    for name in PASSED_HEADERS {
        for value in request.headers.get_all(name) {
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
    let store = &*server.config.store;
    let entry = target.read(store).await?;
    let pod: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    let container = container(&pod, request.query.text("container"), &target.name)?;
    let name = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or("").to_owned();
    if name.is_empty() {
        return Err(Failure::bad_request(format!("pod {} does not have a host assigned", target.name)));
    }
    let row = kinds::by_resource("", "v1", "nodes").ok_or_else(Failure::no_such_path)?;
    let node = Target { row, namespace: String::new(), name: name.clone() };
    let node: Value = serde_json::from_slice(&node.read(store).await?.value).unwrap_or_default();
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
    Ok((NodeAddress { name, ip, port }, container))
}

/// The container asked for; without a wish the annotated or the only one.
fn container(pod: &Value, wanted: Option<&str>, pod_name: &str) -> Outcome<String> {
    let of = |list: &str| -> Vec<&str> {
        let items = pod.pointer(list).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|container| container.get("name")?.as_str()).collect()
    };
    let (main, init) = (of("/spec/containers"), of("/spec/initContainers"));
    let annotated = pod
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(DEFAULT_CONTAINER))
        .and_then(Value::as_str);
    match (wanted, annotated, main.as_slice()) {
        (Some(name), ..) if main.contains(&name) || init.contains(&name) => Ok(name.to_owned()),
        (Some(name), ..) => {
            Err(Failure::bad_request(format!("container {name} is not valid for pod {pod_name}")))
        }
        (None, Some(name), _) if main.contains(&name) => Ok(name.to_owned()),
        (None, _, [only]) => Ok((*only).to_owned()),
        (None, ..) => Err(Failure::bad_request(format!(
            "a container name must be specified for pod {pod_name}, choose one of: [{}]",
            main.join(" ")
        ))),
    }
}
