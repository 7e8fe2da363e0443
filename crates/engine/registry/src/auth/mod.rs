//! Who asks, and what they may.
//!
//! Owns: passwords, tokens, rights. Does not own: what is done with a right. Invariant: every request is turned into
//! one [`Caller`] before anything is looked up, and every operation asks that caller once.

mod htpasswd;
mod rights;
mod token;

pub(crate) use rights::{Action, Caller};
pub(crate) use token::{Grant, TokenRequest};

use crate::config::{AuthConfig, Rule};
use crate::error::RegistryError;
use crate::name::Repository;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hako_error::Result;
use htpasswd::Passwords;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use rights::Rules;
use std::path::Path;
use token::Tokens;

/// How callers prove who they are.
#[derive(Debug)]
pub(crate) struct Auth {
    kind: Kind,
    rules: Rules,
}

#[derive(Debug)]
enum Kind {
    None,
    Basic { passwords: Passwords, realm: String },
    Token { passwords: Passwords, tokens: Box<Tokens>, realm: Option<String> },
}

/// Name and password of a request.
struct Credentials {
    user: String,
    password: String,
}

impl Auth {
    /// Opens what `config` names; a token's key is kept in `dir`.
    pub(crate) fn open(config: &AuthConfig, rules: &[Rule], dir: &Path) -> Result<Self> {
        let kind = match config {
            AuthConfig::None => Kind::None,
            AuthConfig::Basic { htpasswd, realm } => {
                Kind::Basic { passwords: Passwords::open(htpasswd)?, realm: realm.clone() }
            }
            AuthConfig::Token { htpasswd, service, issuer, realm, lifetime } => Kind::Token {
                passwords: Passwords::open(htpasswd)?,
                tokens: Box::new(Tokens::open(&dir.join("token.key"), service, issuer, *lifetime)?),
                realm: realm.clone(),
            },
        };
        let is_open = matches!(config, AuthConfig::None) && rules.is_empty();
        Ok(Self { kind, rules: Rules::new(rules, is_open) })
    }

    /// What keeps [`Auth::open`] from opening it, each fault with its field below `auth`. Makes nothing.
    pub(crate) fn faults(config: &AuthConfig, dir: &Path) -> Vec<(&'static str, String)> {
        let passwords = |path: &Path| htpasswd::faults(path).into_iter().map(|fault| ("htpasswd", fault));
        match config {
            AuthConfig::None => Vec::new(),
            AuthConfig::Basic { htpasswd, .. } => passwords(htpasswd).collect(),
            AuthConfig::Token { htpasswd, service, issuer, lifetime, .. } => {
                let mut faults: Vec<_> = passwords(htpasswd).collect();
                let key = dir.join("token.key");
                // It is made at the first start.
                if key.exists()
                    && let Err(error) = Tokens::open(&key, service, issuer, *lifetime)
                {
                    faults.push(("kind", error.chain()));
                }
                if lifetime.is_zero() {
                    faults.push(("lifetime_seconds", "a token of 0 seconds is never good".into()));
                }
                faults
            }
        }
    }

    /// Who sends these headers; what they claim must be true.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refused> {
        match &self.kind {
            Kind::None => Ok(Caller::by_rules(None, &self.rules)),
            Kind::Basic { passwords, .. } => {
                let user = match basic(headers)? {
                    Some(credentials) => Some(passwords.check(credentials).await?),
                    None => None,
                };
                Ok(Caller::by_rules(user, &self.rules))
            }
            Kind::Token { tokens, .. } => match bearer(headers) {
                Some(token) => tokens.verify(token).map(|token| Caller::by_token(token, &self.rules)),
                None => Ok(Caller::by_token(None, &self.rules)),
            },
        }
    }

    /// Whether `/v2/` answers a caller who proved nothing. With authentication it does not: clients learn here how to
    /// authenticate.
    pub(crate) fn is_optional(&self) -> bool {
        matches!(self.kind, Kind::None)
    }

    /// What to say to a caller who may not.
    pub(crate) fn refusal(
        &self,
        caller: Option<&Caller>,
        wanted: Option<(&Repository, Action)>,
        headers: &HeaderMap,
        is_tls: bool,
    ) -> RegistryError {
        let denied = || RegistryError::Denied {
            problem: match wanted {
                Some((repository, action)) => format!("no right to {} {repository}", action.as_str()),
                None => "no right to do this".into(),
            },
        };
        match &self.kind {
            Kind::None => denied(),
            Kind::Basic { .. } if caller.is_some_and(|caller| caller.user().is_some()) => denied(),
            Kind::Basic { realm, .. } => {
                RegistryError::Unauthorized { challenge: format!("Basic realm=\"{realm}\"") }
            }
            Kind::Token { tokens, realm, .. } => {
                let realm = realm.clone().unwrap_or_else(|| {
                    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
                    format!("{}://{host}/token", if is_tls { "https" } else { "http" })
                });
                let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{}\"", tokens.service());
                if let Some((repository, action)) = wanted {
                    challenge.push_str(&format!(",scope=\"repository:{repository}:{}\"", action.scope()));
                }
                if headers.contains_key(AUTHORIZATION) {
                    let problem = if caller.is_some() { "insufficient_scope" } else { "invalid_token" };
                    challenge.push_str(&format!(",error=\"{problem}\""));
                }
                RegistryError::Unauthorized { challenge }
            }
        }
    }

    /// Answers `/token`; `None` where this registry gives no tokens.
    pub(crate) async fn token(
        &self,
        headers: &HeaderMap,
        request: TokenRequest,
    ) -> Option<Result<Grant, Refused>> {
        let Kind::Token { passwords, tokens, .. } = &self.kind else { return None };
        Some(self.grant(passwords, tokens, headers, request).await)
    }

    async fn grant(
        &self,
        passwords: &Passwords,
        tokens: &Tokens,
        headers: &HeaderMap,
        request: TokenRequest,
    ) -> Result<Grant, Refused> {
        let user = match (basic(headers)?, &request.password, &request.refresh_token) {
            (Some(credentials), ..) => Some(passwords.check(credentials).await?),
            (None, Some((user, password)), _) => {
                let credentials = Credentials { user: user.clone(), password: password.clone() };
                Some(passwords.check(credentials).await?)
            }
            (None, None, Some(refresh)) => Some(tokens.refreshed(refresh, passwords)?),
            (None, None, None) => None,
        };
        let caller = Caller::by_rules(user.clone(), &self.rules);
        let version = match (&user, request.is_offline) {
            (Some(user), true) => passwords.version(user),
            _ => None,
        };
        tokens.grant(&caller, &request, version)
    }

    /// The realm of a token endpoint's own challenge.
    pub(crate) fn token_challenge() -> String {
        "Basic realm=\"token\"".into()
    }
}

/// What a caller claims is not true.
#[derive(Debug)]
pub(crate) struct Refused;

fn basic(headers: &HeaderMap) -> Result<Option<Credentials>, Refused> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let value = value.to_str().map_err(|_| Refused)?;
    let (scheme, encoded) = value.split_once(' ').ok_or(Refused)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(Refused);
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| Refused)?;
    let text = String::from_utf8(decoded).map_err(|_| Refused)?;
    let (user, password) = text.split_once(':').ok_or(Refused)?;
    if user.is_empty() && password.is_empty() {
        return Ok(None);
    }
    Ok(Some(Credentials { user: user.to_owned(), password: password.to_owned() }))
}

/// Who the headers say to come from, by a name and a password that nobody has looked at.
pub(crate) fn claimed(headers: &HeaderMap) -> Option<String> {
    Some(basic(headers).ok()??.user)
}

/// The token; something else than a bearer token is none, and fails as one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().unwrap_or_default();
    let (scheme, token) = value.split_once(' ').unwrap_or_default();
    Some(if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" })
}
