//! Connections: HTTP/1.1 and 2 over TLS, limits.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hako_client::{Body, body_from};
use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::net::sockopt;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::net::{TcpListener, TcpStream};

use super::connections::{Activity, Connection, Connections, Over};
use super::gathered::gathered_tls;
use super::inline::Inline;
use super::tls::Door;
use super::turns::{Long, Turns};
use super::{Known, Query, Request, answer as answers};
use crate::auth::Identity;
use crate::config::Limits;
use crate::route;
use crate::server::Inner;

/// How often a client on HTTP/2 is asked whether it is there, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// After how long without a word the kernel asks whether a client is there, and how often then.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(20);
/// How long a client may take to hear that its connection is closed.
const GOODBYE_TIME: Duration = Duration::from_secs(2);
/// Requests, watches included, on one HTTP/2 connection.
const STREAMS: u32 = 1000;
const HEADER_LIST_BYTES: u32 = 64 << 10;
const BUFFER_BYTES: usize = 128 << 10;

/// Accepts connections until the server is stopped.
pub(crate) async fn serve(server: Arc<Inner>, listener: TcpListener, door: Door) {
    let door = Arc::new(door);
    let connections = Connections::new(server.config.limits.connections);
    loop {
        let accepted = tokio::select! {
            () = server.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let place = tokio::select! {
            () = server.stop.cancelled() => return,
            place = connections.place() => place,
        };
        let (server, door) = (Arc::clone(&server), Arc::clone(&door));
        tokio::spawn(async move {
            let stop = server.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(server, door, stream, place) => {}
            }
        });
    }
}

async fn connection(
    server: Arc<Inner>,
    door: Arc<Door>,
    (stream, peer): (TcpStream, IpAddr),
    place: Connection,
) {
    let limits = server.config.limits;
    let activity = Arc::clone(&place.activity);
    prepare(&stream);
    let handshake = tokio::time::timeout(limits.handshake_time, door.accept(stream));
    let stream = tokio::select! {
        stream = handshake => stream,
        over = activity.over(&limits) => {
            tracing::debug!(?over, "a connection is given up before its handshake");
            return;
        }
    };
    let Ok(Ok(stream)) = stream else {
        server.requests.tls_errors.fetch_add(1, Ordering::Relaxed);
        tracing::debug!("TLS handshake failed");
        return;
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let (identity, is_proxied) = who(&server, &*door.own, chain);
    let seen = Arc::clone(&activity);
    let turns = Arc::new(Turns::default());
    let service = service_fn(move |request| {
        let (server, identity, open) = (Arc::clone(&server), identity.clone(), Activity::open(&seen));
        let turns = Arc::clone(&turns);
        async move {
            let (mut answer, is_long) = answer(&server, identity, is_proxied, peer, request).await;
            let is_known = answer.extensions_mut().remove::<Known>().is_some();
            let waits = answer.extensions_mut().remove::<Long>().is_some();
            Ok::<_, Infallible>(answer.map(|body| {
                let body = if waits { turns.body(body) } else { body };
                open.answered(body, is_long, is_known)
            }))
        }
    });
    let protocols = protocols(&limits);
    let (stream, sender) = gathered_tls(stream);
    let mut serving = pin!(protocols.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let over = tokio::select! {
        ended = sender.run(serving.as_mut()) => {
            if let Err(error) = ended {
                tracing::debug!(error, "connection ended");
            }
            return;
        }
        over = activity.over(&limits) => over,
    };
    tracing::debug!(?over, "a connection is given up");
    if over == Over::Idle {
        serving.as_mut().graceful_shutdown();
        // Whoever does not hear it is not waited for.
        let _ = tokio::time::timeout(GOODBYE_TIME, sender.run(serving)).await;
    }
}

/// Both versions of HTTP, with what each bounds.
fn protocols(limits: &Limits) -> auto::Builder<Inline> {
    let mut builder = auto::Builder::new(Inline);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(BUFFER_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST_BYTES)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .adaptive_window(true);
    builder
}

/// Has the kernel find out that a client is gone which neither side has anything to say to.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let set = || {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
        sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "keep-alive of a connection");
    }
}

/// Who a verified certificate is of, and whether that is a proxy. One of a proxy's authority names nobody of ours.
fn who(server: &Inner, own: &dyn ClientCertVerifier, chain: &[CertificateDer<'_>]) -> (Identity, bool) {
    let Some((first, others)) = chain.split_first() else { return (Identity::anonymous(), false) };
    let proxy = server.config.external.proxy.as_ref();
    let is_own = proxy.is_none() || own.verify_client_cert(first, others, UnixTime::now()).is_ok();
    let identity = if is_own { Identity::of_certificate(first) } else { None };
    (identity.unwrap_or_else(Identity::anonymous), proxy.is_some_and(|proxy| proxy.is_proxy(chain)))
}

async fn answer(
    server: &Arc<Inner>,
    identity: Identity,
    is_proxied: bool,
    peer: IpAddr,
    mut request: http::Request<Incoming>,
) -> (Response<Body>, bool) {
    if let Some(fault) = host_fault(&request) {
        return (unreadable(fault), false);
    }
    let is_upgrade =
        request.version() == Version::HTTP_11 && request.headers().contains_key(http::header::UPGRADE);
    let upgrade = is_upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    // Handed on through many states, each of which would have room for it, twice.
    let request = Box::new(Request {
        identity,
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: Query::parse(parts.uri.query().unwrap_or("")),
        headers: parts.headers,
        body: Bytes::new(),
        incoming: None,
        upgrade,
        slot: None,
        notes: Arc::default(),
        is_proxied,
        peer: Some(peer),
        impersonator: None,
        is_inside: false,
    });
    let is_head = request.method == Method::HEAD;
    let is_long = route::is_long_running(&request);
    let asked = server.asked(&request);
    if !matches!(request.method, Method::GET | Method::HEAD) {
        // What writes takes its time: others on the connection go on meanwhile.
        tokio::task::yield_now().await;
    }
    let answer = server.receive(request, incoming).await;
    if let Some(asked) = asked {
        asked.answered(&answer);
    }
    (if is_head { without_body(answer) } else { answer }, is_long)
}

/// What is wrong with a request that has to say which host it is for (RFC 9112, 3.2).
fn host_fault<B>(request: &http::Request<B>) -> Option<&'static str> {
    if request.version() != Version::HTTP_11 {
        return None;
    }
    match request.headers().get_all(header::HOST).iter().count() {
        0 => Some("missing required Host header"),
        1 => None,
        _ => Some("too many Host headers"),
    }
}

/// The answer to what is no request; nothing more is read on its connection.
fn unreadable(fault: &str) -> Response<Body> {
    let mut answer = answers::text(StatusCode::BAD_REQUEST, format!("400 Bad Request: {fault}"));
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The head that `GET` would have got. Over HTTP/2 nobody but us keeps a body from being sent, and it breaks the
/// stream (RFC 9113, 8.1.1).
fn without_body(answer: Response<Body>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(head, body_from(Bytes::new()))
}
