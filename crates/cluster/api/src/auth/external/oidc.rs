//! Tokens of OpenID Connect issuers: JSON Web Tokens by keys that the issuer publishes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hako_client::{HttpTransport, Tls, Transport as _};
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use super::config::{Jwt, Mapping};
use super::expressions::{self, Evaluation, Expressions};
use crate::auth::Identity;

/// Signatures that need the issuer's private key; a shared secret proves nothing.
const ALGORITHMS: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
/// An issuer is asked for its keys no more often than that, whatever tokens come.
const PAUSE: Duration = Duration::from_secs(10);
const TIME: Duration = Duration::from_secs(10);
const BYTES_MAX: usize = 1 << 20;
const LEEWAY: u64 = 10;
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Whose tokens are believed, and what they say here.
pub(crate) struct Issuer {
    jwt: Jwt,
    expressions: Expressions,
    tls: Tls,
    keys: tokio::sync::Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    all: Arc<Vec<Jwk>>,
    asked: Option<Instant>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("url", &self.jwt.issuer.url).finish_non_exhaustive()
    }
}

/// The issuer that a token names, unproven.
pub(crate) fn claimed_issuer(token: &str) -> Option<String> {
    let body = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&body).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

impl Issuer {
    pub(super) fn new(jwt: Jwt, expressions: Expressions) -> Result<Self, String> {
        let tls = match jwt.issuer.certificate_authority.as_str() {
            "" => Tls::of_machine(),
            pem => Tls::from_pem(pem.as_bytes(), None).map_err(|error| error.chain())?,
        };
        Ok(Self { jwt, expressions, tls, keys: tokio::sync::Mutex::default() })
    }

    pub(crate) fn url(&self) -> &str {
        &self.jwt.issuer.url
    }

    /// Whose token it is; the reason, without a word of the token, if it is not good.
    pub(crate) async fn verify(&self, token: &str) -> Result<Identity, String> {
        let header = decode_header(token).map_err(|error| error.to_string())?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(format!("{:?} proves nothing", header.alg));
        }
        let kid = header.kid.as_deref();
        let known = self.keys(false).await?;
        let keys = if fitting(&known, kid).next().is_none() { self.keys(true).await? } else { known };
        let mut rules = Validation::new(header.alg);
        rules.leeway = LEEWAY;
        rules.validate_nbf = true;
        rules.set_issuer(&[self.url()]);
        rules.set_audience(&self.jwt.issuer.audiences);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        let mut reason = "none of the issuer's keys has signed it".to_owned();
        for key in fitting(&keys, kid) {
            let Ok(key) = DecodingKey::from_jwk(key) else { continue };
            match decode::<Value>(token, &key, &rules) {
                Ok(decoded) => return self.identity(&decoded.claims),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(reason)
    }

    /// The issuer's keys; asked for anew if there are none, or if one is missing.
    async fn keys(&self, is_missing: bool) -> Result<Arc<Vec<Jwk>>, String> {
        let mut keys = self.keys.lock().await;
        let is_due = keys.asked.is_none_or(|asked| asked.elapsed() > PAUSE);
        if is_due && (is_missing || keys.all.is_empty()) {
            keys.asked = Some(Instant::now());
            keys.all = Arc::new(self.fetch().await?);
        }
        Ok(Arc::clone(&keys.all))
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, String> {
        let issuer = &self.jwt.issuer;
        let own = format!("{}{DISCOVERY}", issuer.url.trim_end_matches('/'));
        let at = if issuer.discovery_url.is_empty() { &own } else { &issuer.discovery_url };
        let document = self.get(at).await?;
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or("");
        if text("issuer") != issuer.url {
            return Err(format!("the document at {at} is of issuer {:?}", text("issuer")));
        }
        let uri = text("jwks_uri");
        if !uri.starts_with("https://") {
            return Err(format!("jwks_uri {uri:?} is no https URL"));
        }
        let set: JwkSet = serde_json::from_value(self.get(uri).await?).map_err(|error| error.to_string())?;
        Ok(set.keys)
    }

    async fn get(&self, url: &str) -> Result<Value, String> {
        let uri: http::Uri = url.parse().map_err(|_| format!("{url:?} is no URL"))?;
        let transport =
            HttpTransport::new(url, Some(self.tls.clone()), None).map_err(|error| error.chain())?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path).body(Bytes::new()).map_err(|error| error.to_string())?;
        let answer = async {
            let response = transport.call(request).await.map_err(|error| error.chain())?;
            if !response.status().is_success() {
                return Err(format!("{url} answers {}", response.status()));
            }
            let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| format!("{url}: {error}"))
        };
        tokio::time::timeout(TIME, answer).await.map_err(|_| format!("{url} does not answer"))?
    }

    fn identity(&self, claims: &Value) -> Result<Identity, String> {
        let (mappings, expressions) = (&self.jwt.claim_mappings, &self.expressions);
        let mut left = expressions::budget();
        let mut on = Evaluation::of_claims(claims, &mut left);
        let name = match &expressions.username {
            Some(expression) => on.text(expression, "username")?,
            None => username(claims, &mappings.username)?,
        };
        if name.is_empty() {
            return Err("the user has no name".to_owned());
        }
        let mut identity = Identity::new(&name, &[]);
        identity.groups = match &expressions.groups {
            Some(expression) => on.texts(expression, "group")?,
            None => many(claims, &mappings.groups)?,
        };
        identity.uid = match &expressions.uid {
            Some(expression) => on.text(expression, "uid")?,
            None if mappings.uid.claim.is_empty() => String::new(),
            None => one(claims, &mappings.uid.claim)?,
        };
        for (key, expression) in &expressions.extra {
            let texts = on.texts(expression, "extra")?;
            if !texts.is_empty() {
                identity.extra.insert(key.clone(), texts);
            }
        }
        self.required(claims)?;
        on.judge(&expressions.claim_rules, "claim validation expression")?;
        if !expressions.user_rules.is_empty() {
            let user = expressions::seen(&identity);
            Evaluation::of_user(&user, &mut left)
                .judge(&expressions.user_rules, "user info validation rule")?;
        }
        identity.groups.push("system:authenticated".to_owned());
        Ok(identity)
    }

    /// Whether claims are as rules without an expression say.
    fn required(&self, claims: &Value) -> Result<(), String> {
        let rules = self.jwt.claim_validation_rules.iter().filter(|rule| !rule.claim.is_empty());
        for rule in rules {
            let is = claims.get(&rule.claim).and_then(Value::as_str);
            if is != Some(rule.required_value.as_str()) {
                return Err(format!("the claim {:?} is not as required", rule.claim));
            }
        }
        Ok(())
    }
}

fn fitting<'a>(keys: &'a [Jwk], kid: Option<&'a str>) -> impl Iterator<Item = &'a Jwk> {
    keys.iter().filter(move |key| kid.is_none() || key.common.key_id.as_deref() == kid)
}

fn prefixed(mapping: &Mapping, text: &str) -> String {
    format!("{}{text}", mapping.prefix.as_deref().unwrap_or(""))
}

/// A name by its claim; one that is an address must not be known as unverified.
fn username(claims: &Value, mapping: &Mapping) -> Result<String, String> {
    let name = one(claims, &mapping.claim)?;
    if mapping.claim == "email" && claims.get("email_verified").is_some_and(|it| *it != true) {
        return Err("the email is not verified".to_owned());
    }
    // A prefix alone would be the same user for all that have no name.
    if name.is_empty() { Ok(name) } else { Ok(prefixed(mapping, &name)) }
}

fn one(claims: &Value, claim: &str) -> Result<String, String> {
    let value = claims.get(claim).and_then(Value::as_str);
    value.map(str::to_owned).ok_or_else(|| format!("the claim {claim:?} is missing or no text"))
}

/// A text or a list of texts; none where the claim is missing.
fn many(claims: &Value, mapping: &Mapping) -> Result<Vec<String>, String> {
    let values = match claims.get(&mapping.claim) {
        _ if mapping.claim.is_empty() => return Ok(Vec::new()),
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list.as_slice(),
        Some(value) => std::slice::from_ref(value),
    };
    let text = |value: &Value| value.as_str().map(|text| prefixed(mapping, text));
    let texts: Option<Vec<String>> = values.iter().map(text).collect();
    texts.ok_or_else(|| format!("the claim {:?} is no list of texts", mapping.claim))
}
