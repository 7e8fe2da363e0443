//! TLS of the listener: who the server is, whom it knows by certificates, and which cipher a connection gets.

use std::io;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{ALL_CIPHER_SUITES, cipher_suite as suites, default_provider};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Acceptor, WebPkiClientVerifier};
use rustls::{CipherSuite, RootCertStore, ServerConfig as TlsServerConfig};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::auth::external::verifier;
use crate::config::ServerConfig;
use crate::pki::{Issued, PkiError};

/// What the listener asks of connections, and what it makes of certificates.
pub(crate) struct Door {
    /// For clients whose processors have AES.
    aes: Arc<TlsServerConfig>,
    /// For others, by their own order.
    others: Arc<TlsServerConfig>,
    /// Who knows certificates of our own authority from those of proxies.
    pub(super) own: Arc<dyn ClientCertVerifier>,
}

impl Door {
    pub(crate) fn new(config: &ServerConfig) -> Result<Self, PkiError> {
        let pki = &config.pki;
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pki.ca().as_bytes()).collect();
        let mut all = roots.map_err(|error| fault(&error))?;
        let own = verifier(&all).map_err(|error| fault(&error))?;
        all.extend(config.external.proxy.iter().flat_map(|proxy| proxy.roots().iter().cloned()));
        let mut roots = RootCertStore::empty();
        for root in all {
            roots.add(root).map_err(|error| fault(&error))?;
        }
        let (roots, server) = (Arc::new(roots), pki.server());
        let mut aes = tls(aes_first(), &roots, server)?;
        aes.ignore_client_order = true;
        Ok(Self { aes: Arc::new(aes), others: Arc::new(tls(default_provider(), &roots, server)?), own })
    }

    /// Shakes hands.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = if likes_aes(start.client_hello().cipher_suites()) { &self.aes } else { &self.others };
        start.into_stream(Arc::clone(config)).await
    }
}

fn fault(error: &dyn std::fmt::Display) -> PkiError {
    PkiError::Tls { problem: error.to_string() }
}

fn tls(
    provider: CryptoProvider,
    roots: &Arc<RootCertStore>,
    server: &Arc<Issued>,
) -> Result<TlsServerConfig, PkiError> {
    let provider = Arc::new(provider);
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| fault(&error))?;
    let mut tls = TlsServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(&error))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::<Issued>::clone(server));
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// All suites, before each with AES-256 the one with AES-128: both sides then do ten rounds instead of fourteen for each
/// block. kube-apiserver prefers them in this order as well.
fn aes_first() -> CryptoProvider {
    let shorter = [
        suites::TLS13_AES_128_GCM_SHA256,
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    let mut provider = default_provider();
    provider.cipher_suites.sort_by_key(|suite| !shorter.contains(suite));
    provider
}

/// Whether a client names AES before ChaCha20, as those do whose processors have it.
fn likes_aes(named: &[CipherSuite]) -> bool {
    let chacha = [
        suites::TLS13_CHACHA20_POLY1305_SHA256,
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    let first = named.iter().find_map(|named| ALL_CIPHER_SUITES.iter().find(|known| known.suite() == *named));
    first.is_none_or(|first| !chacha.contains(first))
}
