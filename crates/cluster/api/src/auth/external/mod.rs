//! Authentication and authorization by others: OpenID Connect, webhooks, a proxy in front.
//!
//! Owns: the files that name them, what is asked of them, and what of their answers is kept for how long.
//! Does not own: the platform's own certificates, tokens and roles.
//!
//! Invariant: what cannot be done as its file says is refused at the start, by the name of the field.

mod cache;
mod checks;
mod config;
mod expressions;
mod oidc;
mod proxy;
mod webhook;

use std::path::PathBuf;

use hako_error::{Classify, FieldCause, Kind};

pub(crate) use self::config::Anonymous;
pub(crate) use self::oidc::{Issuer, claimed_issuer};
pub(crate) use self::proxy::{FrontProxy, of_headers, strip, verifier};
pub(crate) use self::webhook::{AccessWebhook, Hook, TokenWebhook};

/// The files and names that say who else is asked. All may be absent.
#[derive(Clone, Debug, Default)]
pub struct ExternalOptions {
    /// An `AuthenticationConfiguration`: issuers of tokens, and where nobody in particular may look.
    pub authentication_config: Option<PathBuf>,
    /// A kubeconfig of whom to ask whose token it is.
    pub token_webhook: Option<PathBuf>,
    /// A kubeconfig of whom to ask who may do what.
    pub access_webhook: Option<PathBuf>,
    /// The authority of proxies that say in headers for whom they ask.
    pub proxy_ca: Option<PathBuf>,
    /// The names of such proxies; empty for all with a certificate of that authority.
    pub proxy_names: Vec<String>,
}

/// Who else is asked.
#[derive(Debug, Default)]
pub struct External {
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) anonymous: Anonymous,
    pub(crate) tokens: Option<TokenWebhook>,
    pub(crate) access: Option<AccessWebhook>,
    pub(crate) proxy: Option<FrontProxy>,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the words of the messages")]
pub enum ExternalError {
    #[error("read {path}")]
    Read { path: String, source: std::io::Error },
    #[error("{path} is no AuthenticationConfiguration: {problem}")]
    Form { path: String, problem: String },
    #[error("{path} is invalid: {}", show(causes))]
    Invalid { path: String, causes: Vec<FieldCause> },
    #[error("{path}: {problem}")]
    Webhook { path: String, problem: String },
}

impl Classify for ExternalError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { source, .. } => Kind::of_io(source),
            _ => Kind::Invalid,
        }
    }
}

fn show(causes: &[FieldCause]) -> String {
    let texts = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message));
    texts.collect::<Vec<_>>().join(", ")
}

impl External {
    /// Reads the files.
    pub fn load(options: &ExternalOptions) -> Result<Self, ExternalError> {
        let mut external = Self::default();
        if let Some(path) = &options.authentication_config {
            (external.issuers, external.anonymous) = config::load(path)?;
        }
        external.tokens = options.token_webhook.as_deref().map(TokenWebhook::open).transpose()?;
        external.access = options.access_webhook.as_deref().map(AccessWebhook::open).transpose()?;
        let proxy = |path: &PathBuf| FrontProxy::open(path, options.proxy_names.clone());
        external.proxy = options.proxy_ca.as_ref().map(proxy).transpose()?;
        Ok(external)
    }
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, ExternalError> {
    std::fs::read(path).map_err(|source| ExternalError::Read { path: path.display().to_string(), source })
}
