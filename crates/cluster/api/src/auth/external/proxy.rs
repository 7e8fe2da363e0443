//! A proxy in front, which says in headers for whom it asks and shows a certificate of an authority of its own.

use std::path::Path;
use std::sync::Arc;

use hako_names::percent;
use http::HeaderMap;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{ExternalError, read};
use crate::auth::Identity;

const USER: &str = "x-remote-user";
const UID: &str = "x-remote-uid";
const GROUP: &str = "x-remote-group";
const EXTRA: &str = "x-remote-extra-";

/// Which proxies are believed.
#[derive(Debug)]
pub(crate) struct FrontProxy {
    roots: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl FrontProxy {
    pub(super) fn open(path: &Path, names: Vec<String>) -> Result<Self, ExternalError> {
        let bytes = read(path)?;
        let fault = |error: &dyn std::fmt::Display| ExternalError::Webhook {
            path: path.display().to_string(),
            problem: error.to_string(),
        };
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let roots = roots.map_err(|error| fault(&error))?;
        let verifier = verifier(&roots).map_err(|problem| fault(&problem))?;
        Ok(Self { roots, verifier, names })
    }

    /// Its authorities, for the listener.
    pub(crate) fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The names in its certificates; none for any.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a certificate that the listener took is one of a proxy.
    pub(crate) fn is_proxy(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((own, others)) = chain.split_first() else { return false };
        if self.verifier.verify_client_cert(own, others, UnixTime::now()).is_err() {
            return false;
        }
        let name = Identity::of_certificate(own).map(|identity| identity.user).unwrap_or_default();
        self.names.is_empty() || self.names.contains(&name)
    }
}

/// Who checks that a certificate is of these authorities.
pub(crate) fn verifier(roots: &[CertificateDer<'static>]) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let built = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider).build();
    built.map_err(|error| error.to_string())
}

/// For whom a proxy asks; nobody if it does not say.
pub(crate) fn of_headers(headers: &HeaderMap) -> Option<Identity> {
    let values = |name: &str| -> Vec<String> {
        let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
    };
    let user = values(USER).into_iter().next()?;
    let mut identity = Identity::new(&user, &[]);
    identity.groups = values(GROUP);
    if !identity.groups.iter().any(|group| group == "system:authenticated") {
        identity.groups.push("system:authenticated".to_owned());
    }
    identity.uid = values(UID).into_iter().next().unwrap_or_default();
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            identity.extra.insert(percent::decode(key), values(name.as_str()));
        }
    }
    Some(identity)
}

/// Removes what only a proxy may say.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let names: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with("x-remote-")).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}
