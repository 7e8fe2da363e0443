//! Credentials, and the tokens that they buy.

use super::challenge::Challenge;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

/// How long a token lives that does not say so, distribution's token specification.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// A token is not believed for longer, whatever it says of itself.
const LONGEST_LIFE: Duration = Duration::from_secs(86_400);
/// A token is no longer used this long before it ends.
const MARGIN: Duration = Duration::from_secs(5);

/// Who we are to a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody.
    #[default]
    Anonymous,
    /// A user with a password, or with an access token as password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// A refresh token from an earlier log-in, exchanged at the token server (`identitytoken` of Docker's
    /// configuration).
    Identity(String),
    /// A token for the registry itself, sent as it is (`registrytoken`).
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => write!(f, "Basic({username})"),
            Self::Identity(_) => f.write_str("Identity"),
            Self::Bearer(_) => f.write_str("Bearer"),
        }
    }
}

/// What a token server answers.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
}

impl TokenAnswer {
    /// The token; servers use either of two names for it.
    pub(super) fn into_token(self) -> Option<(Token, Option<String>)> {
        let text = [self.token, self.access_token].into_iter().flatten().find(|text| !text.is_empty())?;
        let life = self.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
        let header = sensitive(&format!("Bearer {text}"))?;
        let ends = Instant::now() + life.saturating_sub(MARGIN).min(LONGEST_LIFE);
        Some((Token { header, ends }, self.refresh_token))
    }
}

/// A token as the header that carries it.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    ends: Instant,
}

/// What is known of how a registry wants to be spoken to.
#[derive(Default)]
pub(super) struct Auth {
    pub(super) credentials: Credentials,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    wants_basic: bool,
    tokens: HashMap<String, Token>,
}

impl Auth {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, known: Mutex::default() }
    }

    /// The header for a call that needs `scope`, as far as one is known without asking.
    pub(super) fn header(&self, scope: &str) -> Option<HeaderValue> {
        if let Credentials::Bearer(token) = &self.credentials {
            return sensitive(&format!("Bearer {token}"));
        }
        let known = self.known.lock();
        if known.wants_basic {
            return self.basic();
        }
        let token = known.tokens.get(scope).filter(|token| token.ends > Instant::now())?;
        Some(token.header.clone())
    }

    /// The user's name and password as a header.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let Credentials::Basic { username, password } = &self.credentials else {
            return None;
        };
        sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
    }

    /// The registry wants Basic from now on; `None` without a password.
    pub(super) fn use_basic(&self) -> Option<HeaderValue> {
        let header = self.basic()?;
        self.known.lock().wants_basic = true;
        Some(header)
    }

    pub(super) fn remember(&self, scope: &str, token: Token) {
        let mut known = self.known.lock();
        known.tokens.retain(|_, token| token.ends > Instant::now());
        known.tokens.insert(scope.to_owned(), token);
    }

    /// Forgets the token of a scope that was just refused.
    pub(super) fn forget(&self, scope: &str) {
        self.known.lock().tokens.remove(scope);
    }
}

/// The scopes to ask a token for: what the challenge names, and what we need besides it.
pub(super) fn scopes(challenge: &Challenge, needed: &str) -> Vec<String> {
    let Challenge::Bearer { scope, .. } = challenge else {
        return Vec::new();
    };
    let mut scopes: Vec<String> = Vec::new();
    for scope in scope.as_deref().unwrap_or_default().split(' ').chain(needed.split(' ')) {
        if !scope.is_empty() && !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A query's or form's value, RFC 3986, section 2.3.
pub(super) fn encode(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b',') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: &str) -> Option<(Token, Option<String>)> {
        serde_json::from_str::<TokenAnswer>(json).unwrap().into_token()
    }

    #[test]
    fn either_name_of_the_token_is_taken_and_none_is_no_token() {
        for json in [
            r#"{"token":"a"}"#,
            r#"{"access_token":"a","expires_in":300}"#,
            r#"{"token":"","access_token":"a"}"#,
        ] {
            assert_eq!(answer(json).unwrap().0.header, "Bearer a");
        }
        assert!(answer("{}").is_none());
    }

    #[test]
    fn an_ended_token_is_not_sent() {
        let auth = Auth::new(Credentials::Anonymous);
        auth.remember("s", answer(r#"{"token":"a","expires_in":3}"#).unwrap().0);
        assert_eq!(auth.header("s"), None);
        auth.remember("s", answer(r#"{"token":"b"}"#).unwrap().0);
        assert_eq!(auth.header("s").unwrap(), "Bearer b");
        assert_eq!(auth.header("other"), None);
    }

    #[test]
    fn a_token_that_says_it_never_ends_is_a_token() {
        let auth = Auth::new(Credentials::Anonymous);
        auth.remember("s", answer(r#"{"token":"a","expires_in":18446744073709551615}"#).unwrap().0);
        assert_eq!(auth.header("s").unwrap(), "Bearer a");
    }

    #[test]
    fn what_we_need_is_asked_for_beside_what_the_challenge_names() {
        let challenge = Challenge::Bearer {
            realm: "https://h/t".into(),
            service: None,
            scope: Some("repository:a:pull,push".into()),
            error: None,
        };
        let scopes = scopes(&challenge, "repository:a:pull,push repository:b:pull");
        assert_eq!(scopes, ["repository:a:pull,push", "repository:b:pull"]);
    }

    #[test]
    fn credentials_show_no_secret() {
        let basic = Credentials::Basic { username: "me".into(), password: "secret".into() };
        for credentials in
            [basic, Credentials::Identity("secret".into()), Credentials::Bearer("secret".into())]
        {
            assert!(!format!("{credentials:?}").contains("secret"));
        }
    }
}
