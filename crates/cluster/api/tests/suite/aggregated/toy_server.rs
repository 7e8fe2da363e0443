//! A small aggregated API server: one group with one kind, kept in memory. It answers those alone who show a certificate
//! of the authority and with a name that the ConfigMap `extension-apiserver-authentication` names.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::support::World;
use crate::tls::acceptor;

pub const GROUP: &str = "toys.example.org";
const ROOT: &str = "/apis/toys.example.org/v1";

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// Answers 500.
    Failing,
    /// Never answers.
    Silent,
    /// Answers 200 with rubbish.
    Lying,
}

pub struct Toys {
    pub address: SocketAddr,
    /// The authority of its certificate, as registrations have it.
    pub ca: String,
    state: Arc<State>,
}

struct State {
    mood: Mutex<Mood>,
    balls: Mutex<Vec<Value>>,
    asked: Mutex<Vec<(String, HeaderMap)>>,
    events: broadcast::Sender<Value>,
    names: Vec<String>,
}

impl Toys {
    /// With a certificate for a service, and trust as a world says.
    pub async fn start(world: &World, host: &str) -> Self {
        let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
        let map = world.kubectl_json(&["get", "--raw", path]).await;
        let text = |name: &str| map["data"][format!("requestheader-{name}")].as_str().unwrap().to_owned();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let state = Arc::new(State {
            mood: Mutex::new(Mood::Good),
            balls: Mutex::default(),
            asked: Mutex::default(),
            events: broadcast::channel(64).0,
            names: serde_json::from_str(&text("allowed-names")).unwrap(),
        });
        let toys = Self {
            address: listener.local_addr().unwrap(),
            ca: base64::engine::general_purpose::STANDARD.encode(certificate.pem()),
            state: Arc::clone(&state),
        };
        let clients = text("client-ca-file");
        let acceptor = acceptor(&certificate.pem(), &key.serialize_pem(), Some(&clients));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let peer = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
                    let is_allowed = state.is_allowed(&peer);
                    let service = service_fn(move |request| answer(Arc::clone(&state), is_allowed, request));
                    let serving = hyper::server::conn::http1::Builder::new();
                    let _ = serving.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
                });
            }
        });
        toys
    }

    pub fn set(&self, mood: Mood) {
        *self.state.mood.lock() = mood;
    }

    /// What it was asked by somebody else than the aggregator.
    pub fn asked(&self) -> Vec<(String, HeaderMap)> {
        let is_other =
            |(_, headers): &&(String, HeaderMap)| headers["x-remote-user"] != "system:kube-aggregator";
        self.state.asked.lock().iter().filter(is_other).cloned().collect()
    }
}

impl State {
    fn is_allowed(&self, peer: &CertificateDer<'_>) -> bool {
        let (_, certificate) = X509Certificate::from_der(peer).unwrap();
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        name.is_some_and(|name| self.names.iter().any(|allowed| allowed == name))
    }

    fn list(&self) -> Value {
        json!({"kind": "BallList", "apiVersion": format!("{GROUP}/v1"), "metadata": {"resourceVersion": "1"},
            "items": *self.balls.lock()})
    }

    fn watch(&self) -> Response<Body> {
        let line = |event: Value| Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{event}\n"))));
        let later = tokio_stream::wrappers::BroadcastStream::new(self.events.subscribe());
        let later = later.filter_map(|event| async move { event.ok() });
        let first = json!({"type": "ADDED", "object": ball("first")});
        let events = futures::stream::iter([first]).chain(later).map(line);
        Response::new(StreamBody::new(events).boxed_unsync())
    }
}

pub fn ball(name: &str) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Ball", "metadata": {"name": name, "namespace": "default",
        "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"}, "color": "red"})
}

fn told(code: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    response
}

async fn answer(
    state: Arc<State>,
    is_allowed: bool,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if !is_allowed || !request.headers().contains_key("x-remote-user") {
        return Ok(told(StatusCode::UNAUTHORIZED, &json!({"kind": "Status", "code": 401})));
    }
    let path = request.uri().path().to_owned();
    let whole = request.uri().path_and_query().unwrap().to_string();
    state.asked.lock().push((whole, request.headers().clone()));
    let mood = *state.mood.lock();
    match mood {
        Mood::Good => {}
        Mood::Failing => return Ok(told(StatusCode::INTERNAL_SERVER_ERROR, &json!("failing"))),
        Mood::Silent => std::future::pending().await,
        Mood::Lying => return Ok(told(StatusCode::OK, &json!(["what", {"resources": 7}]))),
    }
    if request.headers().contains_key(header::UPGRADE) && !path.ends_with("/moved") {
        return Ok(echo(&mut request));
    }
    let query = request.uri().query().unwrap_or("").to_owned();
    let below = path.strip_prefix(ROOT).map(|rest| rest.trim_start_matches("/namespaces/default"));
    if path == format!("{ROOT}/moved") {
        let mut response = told(StatusCode::FOUND, &Value::Null);
        response.headers_mut().insert(header::LOCATION, "https://elsewhere.example.org/".parse().unwrap());
        return Ok(response);
    }
    Ok(match (request.method().clone(), below) {
        (Method::GET, Some("")) => told(StatusCode::OK, &resources()),
        (Method::GET, Some("/balls")) if query.contains("watch=") => state.watch(),
        (Method::GET, Some("/balls")) => told(StatusCode::OK, &state.list()),
        (Method::POST, Some("/balls")) => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut made = ball("");
            let sent: Value = serde_json::from_slice(&body).unwrap();
            made["metadata"]["name"] = sent["metadata"]["name"].clone();
            state.balls.lock().push(made.clone());
            let _ = state.events.send(json!({"type": "ADDED", "object": made}));
            told(StatusCode::CREATED, &made)
        }
        (Method::GET, Some(one)) if one.starts_with("/balls/") => {
            let name = one.trim_start_matches("/balls/");
            let found = state.balls.lock().iter().find(|ball| ball["metadata"]["name"] == name).cloned();
            found.map_or_else(
                || told(StatusCode::NOT_FOUND, &not_found(name)),
                |ball| told(StatusCode::OK, &ball),
            )
        }
        (Method::GET, _) if path == "/openapi/v3" => told(StatusCode::OK, &index()),
        (Method::GET, _) if path == "/openapi/v2" => told(StatusCode::OK, &swagger()),
        (Method::GET, _) if path == format!("/openapi/v3{ROOT}") => told(StatusCode::OK, &document()),
        _ => told(StatusCode::NOT_FOUND, &json!({"kind": "Status", "code": 404})),
    })
}

fn not_found(name: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound",
        "message": format!("balls.{GROUP} {name:?} not found in the box")})
}

/// Becomes a connection that says everything again.
fn echo(request: &mut Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..count]).await.unwrap();
        }
    });
    let mut response = told(StatusCode::SWITCHING_PROTOCOLS, &Value::Null);
    *response.body_mut() = Full::new(Bytes::new()).boxed_unsync();
    response.headers_mut().insert(header::CONNECTION, "Upgrade".parse().unwrap());
    response.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
    response
}

fn resources() -> Value {
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/v1"), "resources": [{
        "name": "balls", "singularName": "ball", "namespaced": true, "kind": "Ball", "shortNames": ["bl"],
        "verbs": ["create", "get", "list", "watch"],
    }]})
}

fn index() -> Value {
    json!({"paths": {format!("apis/{GROUP}/v1"): {"serverRelativeURL": format!("/openapi/v3{ROOT}?hash=1")}}})
}

fn document() -> Value {
    json!({"openapi": "3.0.0", "info": {"title": "Toys", "version": "1"},
        "paths": {format!("{ROOT}/namespaces/{{namespace}}/balls"): {"get": {
            "x-kubernetes-group-version-kind": {"group": GROUP, "version": "v1", "kind": "Ball"}, "responses": {}}}},
        "components": {"schemas": {"org.example.toys.v1.Ball": {
            "type": "object", "description": "A ball, which is round.",
            "x-kubernetes-group-version-kind": [{"group": GROUP, "version": "v1", "kind": "Ball"}],
            "properties": {"color": {"type": "string", "description": "What it looks like."}}}}}})
}

/// A document of version 2, which has types of its own under names of Kubernetes, and says something of others' paths.
fn swagger() -> Value {
    let kind = json!({"group": GROUP, "version": "v1", "kind": "Ball"});
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let get = json!({"get": {
        "x-kubernetes-group-version-kind": kind, "x-kubernetes-action": "get",
        "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/org.example.toys.v1.Ball"}}}}});
    json!({"swagger": "2.0", "info": {"title": "Toys", "version": "1"},
        "paths": {
            format!("{ROOT}/namespaces/{{namespace}}/balls/{{name}}"): get,
            "/apis/apps/v1/namespaces/{namespace}/toys": {}, "/apis/apps/v1/": {},
        },
        "definitions": {
            "org.example.toys.v1.Ball": {
                "type": "object", "description": "A ball, which is round.",
                "x-kubernetes-group-version-kind": [kind],
                "properties": {
                    "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                    "metadata": {"$ref": format!("#/definitions/{meta}")},
                    "color": {"type": "string", "description": "What it looks like."}}},
            meta: {"type": "object", "description": "Not the one of Kubernetes.", "properties": {"name": {"type": "string"}}},
            "org.example.Unused": {"type": "object"}}})
}
