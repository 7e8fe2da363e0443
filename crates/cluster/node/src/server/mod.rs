//! The node's own HTTPS API, which only the API server speaks to: health, pods, logs, exec, attach, port-forward.
//!
//! Owns: TLS and who may call, routes, the log's query and text, the channels of WebSockets, the streams of SPDY.
//! Does not own: whether a user may do something; the API server has decided that.
//! Invariant: a request without a client certificate of the cluster's authority and group `system:masters` gets no
//! further than the handshake or a 403.

mod channels;
mod logs;
mod port_forward;
mod query;
mod remote;
mod sessions;
mod spdy;
mod tls;
mod tunnel;
mod upgrade;

pub use channels::{FromClient, Protocol};
pub use spdy::{Frame, Headers, Reader, SpdyError, Writer};

use crate::context::Context;
use crate::node::Pods;
use bytes::Bytes;
use hako_error::{Error, Kind, Result};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use query::Query;
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

const HANDSHAKE: Duration = Duration::from_secs(10);
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A response's body.
type Body = UnsyncBoxBody<Bytes, Error>;

/// The node's server, bound and not yet serving.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: TlsAcceptor,
    handler: Arc<Handler>,
}

struct Handler {
    context: Arc<Context>,
    pods: Arc<Pods>,
}

impl Server {
    /// Listens where the configuration says.
    pub(crate) fn bind(context: &Arc<Context>, pods: Arc<Pods>) -> Result<Self> {
        let config = &context.config.server;
        let failed = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::AddrInUse => Kind::FailedPrecondition,
                _ => Kind::Internal,
            };
            let text = format!("node API cannot listen on {}, choose another address", config.listen);
            Error::new(kind, text).with_source(error)
        };
        let listener = std::net::TcpListener::bind(config.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            tls: tls::acceptor(config)?,
            handler: Arc::new(Handler { context: Arc::clone(context), pods }),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; streams that are open then end.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "node API cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let (tls, handler) = (self.tls.clone(), Arc::clone(&self.handler));
            let serving = async move {
                if let Err(error) = serve(stream, tls, handler).await {
                    tracing::debug!(error = %error.chain(), "connection to the node API ended");
                }
            };
            tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        }
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, handler: Arc<Handler>) -> Result<()> {
    let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(Kind::Unavailable, "connection to the node API").with_source(error)
    };
    let _ = stream.set_nodelay(true);
    let accepting = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await;
    let stream = accepting.map_err(|error| broken(error.into()))?.map_err(|error| broken(error.into()))?;
    let is_trusted = tls::is_master(stream.get_ref().1.peer_certificates());
    let service = service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move {
            let response = match is_trusted {
                true => handler.handle(request).await,
                false => {
                    let text =
                        "only members of system:masters may use the node API, ask the API server instead";
                    Err(Error::new(Kind::Forbidden, text))
                }
            };
            Ok::<_, Infallible>(response.unwrap_or_else(|error| refusal(&error)))
        }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    connection.with_upgrades().await.map_err(|error| broken(error.into()))
}

impl Handler {
    async fn handle(&self, mut request: Request<Incoming>) -> Result<Response<Body>> {
        let path = request.uri().path().to_owned();
        let query = Query::parse(request.uri().query().unwrap_or(""));
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["healthz" | "livez" | "readyz"]) => Ok(text(StatusCode::OK, "ok")),
            (&Method::GET, ["pods"]) => Ok(self.list_pods()),
            (&Method::GET, ["containerLogs", namespace, pod, container]) => {
                logs::serve(&self.context, &self.pods, [namespace, pod, container], &query).await
            }
            (&Method::GET | &Method::POST, ["exec", namespace, pod, container]) => {
                sessions::exec(&self.context, &self.pods, [namespace, pod, container], &query, &mut request)
                    .await
            }
            (&Method::GET | &Method::POST, ["attach", namespace, pod, container]) => {
                sessions::attach(&self.context, &self.pods, [namespace, pod, container], &query, &mut request)
                    .await
            }
            (&Method::GET | &Method::POST, ["portForward", namespace, pod]) => {
                port_forward::serve(&self.context, &self.pods, [namespace, pod], &query, &mut request).await
            }
            _ => Err(Error::new(Kind::NotFound, format!("the node API has no {} {path}", request.method()))),
        }
    }

    fn list_pods(&self) -> Response<Body> {
        let pods = self.pods.objects();
        let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods});
        let mut response = text(StatusCode::OK, list.to_string());
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let body = Full::new(Bytes::from(text.into())).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// An error as a Status.
fn status_of(error: &Error) -> (StatusCode, serde_json::Value) {
    let (code, reason) = match error.kind() {
        Kind::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
        Kind::Invalid | Kind::FailedPrecondition => (StatusCode::BAD_REQUEST, "BadRequest"),
        Kind::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
        Kind::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
        Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    };
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": error.chain(), "reason": reason, "code": code.as_u16(),
    });
    (code, status)
}

/// A refusal, which the API server hands on as it is.
fn refusal(error: &Error) -> Response<Body> {
    let (code, status) = status_of(error);
    let mut response = text(code, status.to_string());
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod wire_tests;
