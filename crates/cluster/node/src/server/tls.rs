//! Who the server is and whom it serves.

use crate::NodeServer;
use hako_error::{Error, Kind, Result};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

const MASTERS: &str = "system:masters";

/// TLS with the node's certificate, for clients of the cluster's authority.
pub(super) fn acceptor(config: &NodeServer) -> Result<TlsAcceptor> {
    let invalid = |what: &str, error: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(Kind::Invalid, format!("{what} of the node API is not usable")).with_source(error)
    };
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(config.certificate_pem.as_bytes()).collect();
    let chain = chain.map_err(|error| invalid("certificate", error.into()))?;
    let key = PrivateKeyDer::from_pem_slice(config.key_pem.as_bytes())
        .map_err(|error| invalid("key", error.into()))?;
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(config.client_ca_pem.as_bytes()) {
        let authority = authority.map_err(|error| invalid("client authority", error.into()))?;
        roots.add(authority).map_err(|error| invalid("client authority", error.into()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| invalid("client authority", error.into()))?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("TLS", error.into()))?
        .with_client_cert_verifier(verifier);
    let mut tls = match &config.renewed {
        Some(renewed) => builder.with_cert_resolver(Arc::clone(renewed)),
        None => builder.with_single_cert(chain, key).map_err(|error| invalid("certificate", error.into()))?,
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

/// Whether the client is the API server or the cluster's administrator. Users have certificates of the same
/// authority, and what they may do only the API server knows.
pub(super) fn is_master(certificates: Option<&[CertificateDer<'_>]>) -> bool {
    let Some(leaf) = certificates.and_then(|chain| chain.first()) else {
        return false;
    };
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        return false;
    };
    let mut groups = certificate.subject().iter_organization();
    groups.any(|group| group.as_str() == Ok(MASTERS))
}
