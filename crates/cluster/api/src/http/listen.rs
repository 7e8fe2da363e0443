//! Connections: TLS with client certificates, HTTP/1.1 and 2, limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hako_client::{Body, body_from};
use hako_error::Result;
use http::{Method, Response, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig as TlsServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::{Query, Request, until_sent};
use crate::auth::Identity;
use crate::auth::external::verifier;
use crate::config::{Limits, ServerConfig};
use crate::pki::{Issued, PkiError};
use crate::server::Inner;

/// How often a client on HTTP/2 is asked whether it is there, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Requests, watches included, on one HTTP/2 connection.
const STREAMS: u32 = 1000;
const HEADER_LIST_BYTES: u32 = 64 << 10;
const BUFFER_BYTES: usize = 128 << 10;

/// What the listener asks of connections, and what it makes of certificates.
pub(crate) struct Door {
    tls: Arc<TlsServerConfig>,
    /// Who knows certificates of our own authority from those of proxies.
    own: Arc<dyn ClientCertVerifier>,
}

/// What the TLS side of the listener needs.
pub(crate) fn tls(config: &ServerConfig) -> Result<Door, PkiError> {
    let pki = &config.pki;
    let fault = |error: &dyn std::fmt::Display| PkiError::Tls { problem: error.to_string() };
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pki.ca().as_bytes()).collect();
    let mut all = roots.map_err(|error| fault(&error))?;
    let own = verifier(&all).map_err(|error| fault(&error))?;
    all.extend(config.external.proxy.iter().flat_map(|proxy| proxy.roots().iter().cloned()));
    let mut roots = RootCertStore::empty();
    for root in all {
        roots.add(root).map_err(|error| fault(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| fault(&error))?;
    let mut tls = TlsServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(&error))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::<Issued>::clone(pki.server()));
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Door { tls: Arc::new(tls), own })
}

/// Accepts connections until the server is stopped.
pub(crate) async fn serve(server: Arc<Inner>, listener: TcpListener, door: Door) {
    let acceptor = TlsAcceptor::from(door.tls);
    let own = door.own;
    let slots = Arc::new(Semaphore::new(server.config.limits.connections));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = server.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (server, acceptor, own) = (Arc::clone(&server), acceptor.clone(), Arc::clone(&own));
        tokio::spawn(async move {
            let stop = server.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(server, acceptor, own, stream) => {}
            }
            drop(slot);
        });
    }
}

async fn connection(
    server: Arc<Inner>,
    acceptor: TlsAcceptor,
    own: Arc<dyn ClientCertVerifier>,
    stream: TcpStream,
) {
    let _ = stream.set_nodelay(true);
    let limits = server.config.limits;
    let Ok(Ok(stream)) = tokio::time::timeout(limits.handshake_time, acceptor.accept(stream)).await else {
        tracing::debug!("TLS handshake failed");
        return;
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let (identity, is_proxied) = who(&server, &*own, chain);
    let activity = Arc::new(Activity::new());
    let seen = Arc::clone(&activity);
    let service = service_fn(move |request| {
        let (server, identity, open) = (Arc::clone(&server), identity.clone(), Activity::open(&seen));
        async move {
            let answer = answer(&server, identity, is_proxied, request).await;
            Ok::<_, Infallible>(answer.map(|body| until_sent(body, open)))
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
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
    tokio::select! {
        ended = builder.serve_connection_with_upgrades(TokioIo::new(stream), service) => {
            if let Err(error) = ended {
                tracing::debug!(error, "connection ended");
            }
        }
        () = activity.over(&limits) => tracing::debug!("connection without requests closed"),
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

/// What goes on on a connection: neither a client that says nothing nor one that is done keeps its place.
#[derive(Debug)]
struct Activity(Mutex<ActivityState>);

#[derive(Debug)]
struct ActivityState {
    /// Requests whose answers are not sent yet.
    open: usize,
    has_begun: bool,
    since: Instant,
}

/// A request whose answer is not sent yet.
struct Open(Arc<Activity>);

impl Activity {
    fn new() -> Self {
        Self(Mutex::new(ActivityState { open: 0, has_begun: false, since: Instant::now() }))
    }

    fn open(activity: &Arc<Self>) -> Open {
        let mut state = activity.0.lock();
        state.open += 1;
        state.has_begun = true;
        Open(Arc::clone(activity))
    }

    /// Returns once nothing has gone on for too long.
    async fn over(&self, limits: &Limits) {
        loop {
            let due = {
                let state = self.0.lock();
                let limit = if state.has_begun { limits.idle_time } else { limits.header_time };
                if state.open > 0 { Instant::now() + limit } else { state.since + limit }
            };
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.open -= 1;
        state.since = Instant::now();
    }
}

async fn answer(
    server: &Arc<Inner>,
    identity: Identity,
    is_proxied: bool,
    mut request: http::Request<Incoming>,
) -> Response<Body> {
    let is_upgrade =
        request.version() == Version::HTTP_11 && request.headers().contains_key(http::header::UPGRADE);
    let upgrade = is_upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    let request = Request {
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
        is_inside: false,
    };
    let is_head = request.method == Method::HEAD;
    let answer = server.receive(request, incoming).await;
    if is_head { without_body(answer) } else { answer }
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
