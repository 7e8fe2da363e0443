//! Connections: TLS with client certificates, HTTP/1.1 and 2, limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hako_client::Body;
use hako_error::Result;
use http::{Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig as TlsServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::{Query, Request, body};
use crate::auth::Identity;
use crate::pki::{Pki, PkiError};
use crate::server::Inner;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(15);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 2048;
/// Requests, watches included, on one HTTP/2 connection.
const STREAMS: u32 = 1000;
const HEADER_LIST_BYTES: u32 = 64 << 10;
const BUFFER_BYTES: usize = 128 << 10;

/// What the TLS side of the listener needs.
pub(crate) fn tls(pki: &Pki) -> Result<Arc<TlsServerConfig>, PkiError> {
    let fault = |error: &dyn std::fmt::Display| PkiError::Tls { problem: error.to_string() };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pki.ca().as_bytes()) {
        roots.add(certificate.map_err(|error| fault(&error))?).map_err(|error| fault(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| fault(&error))?;
    let pair = pki.server();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|error| fault(&error))?;
    let mut config = TlsServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.map_err(|error| fault(&error))?, key)
        .map_err(|error| fault(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Accepts connections until the server is stopped.
pub(crate) async fn serve(server: Arc<Inner>, listener: TcpListener, tls: Arc<TlsServerConfig>) {
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
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
        let (server, acceptor) = (Arc::clone(&server), acceptor.clone());
        tokio::spawn(async move {
            let stop = server.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(server, acceptor, stream) => {}
            }
            drop(slot);
        });
    }
}

async fn connection(server: Arc<Inner>, acceptor: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await else {
        tracing::debug!("TLS handshake failed");
        return;
    };
    let identity = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(Identity::of_certificate)
        .unwrap_or_else(Identity::anonymous);
    let service = service_fn(move |request| {
        let (server, identity) = (Arc::clone(&server), identity.clone());
        async move { Ok::<_, Infallible>(answer(&server, identity, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(BUFFER_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST_BYTES)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .adaptive_window(true);
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(error, "connection ended");
    }
}

async fn answer(
    server: &Arc<Inner>,
    identity: Identity,
    mut request: http::Request<Incoming>,
) -> Response<Body> {
    let is_upgrade =
        request.version() == Version::HTTP_11 && request.headers().contains_key(http::header::UPGRADE);
    let upgrade = is_upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    let body = match body::read(incoming).await {
        Ok(body) => body,
        Err(failure) => return failure.into_response(),
    };
    let request = Request {
        identity,
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: Query::parse(parts.uri.query().unwrap_or("")),
        headers: parts.headers,
        body,
        upgrade,
        is_inside: false,
    };
    server.answer(request).await
}
