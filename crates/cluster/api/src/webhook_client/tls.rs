//! Whom to trust.

use std::sync::{Arc, OnceLock};

use hako_client::Tls;
use hako_error::{Error, Kind, Result};
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// TLS that trusts the authorities of a bundle, or those of the system if there is none. Only HTTP/1.1, as upstream:
/// over HTTP/2 all calls would go to one endpoint.
pub(super) fn trusting(ca: &[u8]) -> Result<Tls> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Internal, "TLS configuration").with_source(error))?;
    let mut config = trust(builder, ca)?.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls::of(Arc::new(config)))
}

/// The same for a configuration that is being made.
pub(crate) fn trust(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    ca: &[u8],
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    if ca.is_empty() {
        return Ok(builder.with_root_certificates(system()));
    }
    let fault = |why: String| Error::new(Kind::Invalid, format!("unable to load root certificates: {why}"));
    let trusted: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(ca).collect();
    let trusted = trusted.map_err(|error| fault(error.to_string()))?;
    if trusted.is_empty() {
        return Err(fault("unable to parse bytes as PEM block".to_owned()));
    }
    let verifier = hako_client::trusting(trusted).map_err(|error| fault(error.to_string()))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
}

fn system() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::debug!(%error, "an authority of the system cannot be read");
        }
        roots.add_parsable_certificates(loaded.certs);
        Arc::new(roots)
    };
    Arc::clone(ROOTS.get_or_init(load))
}
