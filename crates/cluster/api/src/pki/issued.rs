//! A certificate that is renewed while it is used.
//!
//! INVARIANT: whoever shows one asks for that of now at every handshake; it is replaced as a whole.

use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureScheme, crypto};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::authority::{Authority, Purpose};
use super::{KeyPair, PkiError};

/// A certificate and its key as of now; a resolver of rustls for both sides of a connection.
pub struct Issued {
    name: String,
    purpose: Purpose,
    now: RwLock<Now>,
}

#[derive(Clone)]
struct Now {
    pair: Arc<KeyPair>,
    certified: Arc<CertifiedKey>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Now {
    fn of(pair: KeyPair) -> Result<Self, PkiError> {
        let fault = |error: &dyn std::fmt::Display| PkiError::Tls { problem: error.to_string() };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|error| fault(&error))?;
        let chain = chain.map_err(|error| fault(&error))?;
        let certified = CertifiedKey::from_der(chain, key, &crypto::ring::default_provider())
            .map_err(|error| fault(&error))?;
        Ok(Self { pair: Arc::new(pair), certified: Arc::new(certified) })
    }
}

impl Issued {
    /// That in the files, or a new one.
    pub(super) fn open(
        authority: &Authority,
        dir: &Path,
        name: &str,
        purpose: Purpose,
    ) -> Result<Self, PkiError> {
        let now = Now::of(authority.pair(dir, name, &purpose)?)?;
        Ok(Self { name: name.to_owned(), purpose, now: RwLock::new(now) })
    }

    /// The pair of now.
    #[must_use]
    pub fn pair(&self) -> Arc<KeyPair> {
        Arc::clone(&self.now.read().pair)
    }

    /// Whether that in the files was another one, or is a new one now.
    pub(super) fn renew(&self, authority: &Authority, dir: &Path) -> Result<bool, PkiError> {
        let pair = authority.pair(dir, &self.name, &self.purpose)?;
        if pair.certificate == self.now.read().pair.certificate {
            return Ok(false);
        }
        *self.now.write() = Now::of(pair)?;
        tracing::info!(certificate = self.name, "renewed");
        Ok(true)
    }

    /// Whether it still names all of these.
    pub(super) fn covers(&self, purpose: &Purpose) -> bool {
        self.purpose == *purpose
    }
}

impl ResolvesServerCert for Issued {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now.read().certified))
    }
}

impl ResolvesClientCert for Issued {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now.read().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
