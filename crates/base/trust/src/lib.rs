//! Which servers a client of TLS believes.
//!
//! Owns: the certificates that are trusted, from PEM and of the machine, and what is made of them for rustls. Does not
//! own: connections, protocols, the client's own certificate, and whom servers believe.
//!
//! Invariant: a server is believed if its certificate is of a trusted authority or is trusted itself, also where it says
//! that it is an authority's, as those of `openssl req -x509` do; rustls alone does not believe the latter.

mod itself;
mod verifier;

use std::sync::{Arc, LazyLock};

use rustls::client::WantsClientCert;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};

use verifier::Verifier;

/// Why a text in PEM form tells nobody to trust.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Something else, or nothing.
    #[error("it holds no certificate in PEM form")]
    Empty,
    /// A certificate's text is damaged.
    #[error("it is no text of certificates in PEM form")]
    Unreadable(#[source] pem::Error),
    /// What it holds is no certificate.
    #[error("it holds what is no certificate to trust")]
    Unfit(#[source] rustls::Error),
}

/// The certificates in a text in PEM form: at least one, and each one that can be trusted.
pub fn read(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(Fault::Unreadable)?;
    if found.is_empty() {
        return Err(Fault::Empty);
    }
    let mut tried = RootCertStore::empty();
    for certificate in &found {
        tried.add(certificate.clone()).map_err(Fault::Unfit)?;
    }
    Ok(found)
}

/// Believes servers by the certificates given; without any, nobody.
#[must_use]
pub fn only(trusted: &[CertificateDer<'static>]) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier::of(trusted, RootCertStore::empty(), &[]))
}

/// Believes servers by the machine's certificates and those given.
#[must_use]
pub fn machine_and(trusted: &[CertificateDer<'static>]) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier::of(trusted, MACHINE.authorities.clone(), &MACHINE.digests))
}

/// Believes whoever has the key of the certificate that it shows: for servers that somebody said not to look at.
#[must_use]
pub fn anyone() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier::anyone())
}

/// The start of a configuration that believes servers as `verifier` says.
#[must_use]
pub fn client(verifier: Arc<dyn ServerCertVerifier>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    #[expect(clippy::expect_used, reason = "ring supports the default versions of TLS")]
    let builder = builder.expect("the default versions of TLS");
    builder.dangerous().with_custom_certificate_verifier(verifier)
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    Arc::clone(&PROVIDER)
}

/// What the machine trusts, read once a process.
struct Machine {
    authorities: RootCertStore,
    digests: Vec<itself::Digest>,
}

static MACHINE: LazyLock<Machine> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a certificate of the machine cannot be read");
    }
    let digests = found.certs.iter().map(|certificate| itself::digest(certificate)).collect();
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(found.certs);
    Machine { authorities, digests }
});

#[cfg(test)]
mod tests;
