//! Tokens: JWT (RFC 7519) signed with ES256, as the Docker registry's token specification has them.

use super::Refused;
use super::htpasswd::Passwords;
use super::rights::{Action, Caller};
use crate::clock::now_unix_s;
use crate::config::Rights;
use crate::name::Repository;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hako_error::{Error, Kind, Result};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

/// How long a refresh token is good: as long as its password, but not for ever.
const REFRESH_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// Scopes that one request may name.
const SCOPES: usize = 64;

/// What `/token` is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenRequest {
    /// Scopes, each `TYPE:NAME:ACTIONS`.
    pub scopes: Vec<String>,
    /// Whether a refresh token is wanted too.
    pub is_offline: bool,
    /// Name and password of a form.
    pub password: Option<(String, String)>,
    /// A refresh token of a form.
    pub refresh_token: Option<String>,
}

/// What `/token` gives.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Grant {
    token: String,
    access_token: String,
    expires_in: u64,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip)]
    pub(crate) user: Option<String>,
}

/// What a good token says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token {
    pub user: Option<String>,
    pub grants: Vec<(String, Rights)>,
    pub has_catalog: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: u64,
    nbf: u64,
    iat: u64,
    jti: String,
    #[serde(default)]
    access: Vec<Access>,
    /// In a refresh token, the version of the password it was given for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Access {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

/// Signs and verifies.
pub(super) struct Tokens {
    key: EcdsaKeyPair,
    key_id: String,
    random: SystemRandom,
    service: String,
    issuer: String,
    lifetime: Duration,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.service)
    }
}

impl Tokens {
    /// Reads the key, or makes it at the first start.
    pub(super) fn open(path: &Path, service: &str, issuer: &str, lifetime: Duration) -> Result<Self> {
        let random = SystemRandom::new();
        let failed =
            |what: &str| Error::new(Kind::Internal, format!("{what} the token key {}", path.display()));
        let pkcs8 = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                    .map_err(|_| failed("cannot make"))?;
                store(path, key.as_ref()).map_err(|error| failed("cannot write").with_source(error))?;
                key.as_ref().to_vec()
            }
            Err(error) => return Err(failed("cannot read").with_source(error)),
        };
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).map_err(|_| {
                Error::new(
                    Kind::DataLoss,
                    format!("{} is not a P-256 key; delete it to make a new one", path.display()),
                )
            })?;
        let public = ring::digest::digest(&ring::digest::SHA256, key.public_key().as_ref());
        let key_id = URL_SAFE_NO_PAD.encode(&public.as_ref()[..15]);
        let (service, issuer) = (service.to_owned(), issuer.to_owned());
        Ok(Self { key, key_id, random, service, issuer, lifetime })
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// A token for as much of what is asked for as the caller may.
    pub(super) fn grant(
        &self,
        caller: &Caller,
        request: &TokenRequest,
        password_version: Option<String>,
    ) -> Result<Grant, Refused> {
        let scopes = request.scopes.iter().flat_map(|scopes| scopes.split(' ')).take(SCOPES);
        let access: Vec<Access> = scopes.filter_map(|scope| allowed(caller, scope)).collect();
        let now = now_unix_s();
        let token = self.sign(&self.claims(caller.user(), now, self.lifetime, access, None))?;
        let refresh_token = match password_version {
            Some(version) => Some(self.sign(&self.claims(
                caller.user(),
                now,
                REFRESH_LIFETIME,
                Vec::new(),
                Some(version),
            ))?),
            None => None,
        };
        let issued_at =
            jiff::Timestamp::from_second(i64::try_from(now).unwrap_or_default()).unwrap_or_default();
        Ok(Grant {
            access_token: token.clone(),
            token,
            expires_in: self.lifetime.as_secs(),
            issued_at: issued_at.to_string(),
            refresh_token,
            user: caller.user().map(str::to_owned),
        })
    }

    /// What a token says, if we signed it for this service and it is good now.
    pub(super) fn verify(&self, token: &str) -> Result<Token, Refused> {
        let claims = self.claims_of(token)?;
        if claims.refresh.is_some() {
            return Err(Refused);
        }
        let has_catalog =
            claims.access.iter().any(|access| access.kind == "registry" && access.name == "catalog");
        let grants = claims
            .access
            .into_iter()
            .filter(|access| access.kind == "repository")
            .map(|access| {
                let has = |action: &str| access.actions.iter().any(|one| one == action);
                let rights = Rights { pull: has("pull"), push: has("push"), delete: has("delete") };
                (access.name, rights)
            })
            .collect();
        let user = Some(claims.sub).filter(|user| !user.is_empty());
        Ok(Token { user, grants, has_catalog })
    }

    /// The user of a refresh token whose password is still the same.
    pub(super) fn refreshed(&self, token: &str, passwords: &Passwords) -> Result<String, Refused> {
        let claims = self.claims_of(token)?;
        let version = claims.refresh.ok_or(Refused)?;
        if passwords.version(&claims.sub) == Some(version) { Ok(claims.sub) } else { Err(Refused) }
    }

    fn claims(
        &self,
        user: Option<&str>,
        now: u64,
        lifetime: Duration,
        access: Vec<Access>,
        refresh: Option<String>,
    ) -> Claims {
        Claims {
            iss: self.issuer.clone(),
            sub: user.unwrap_or_default().to_owned(),
            aud: self.service.clone(),
            exp: now.saturating_add(lifetime.as_secs()),
            // Clocks differ a little; only ours counts here, yet other readers of the token exist.
            nbf: now.saturating_sub(10),
            iat: now,
            jti: uuid::Uuid::new_v4().to_string(),
            access,
            refresh,
        }
    }

    fn sign(&self, claims: &Claims) -> Result<String, Refused> {
        let header = serde_json::json!({"typ": "JWT", "alg": "ES256", "kid": self.key_id});
        let claims = serde_json::to_vec(claims).map_err(|_| Refused)?;
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(&self.random, text.as_bytes()).map_err(|_| Refused)?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// The algorithm is ours whatever the header says: nothing of a token is believed before its signature is.
    fn claims_of(&self, token: &str) -> Result<Claims, Refused> {
        let (text, signature) = token.rsplit_once('.').ok_or(Refused)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused)?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        public.verify(text.as_bytes(), &signature).map_err(|_| Refused)?;
        let (_, claims) = text.split_once('.').ok_or(Refused)?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| Refused)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| Refused)?;
        let now = now_unix_s();
        let is_good =
            claims.iss == self.issuer && claims.aud == self.service && claims.exp > now && claims.nbf <= now;
        if is_good { Ok(claims) } else { Err(Refused) }
    }
}

/// As much of a scope as the caller may; `*` stands for all actions.
fn allowed(caller: &Caller, scope: &str) -> Option<Access> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    // `repository(plugin)` is a class that old clients name.
    let kind = kind.split('(').next().unwrap_or_default();
    if kind == "registry" && name == "catalog" {
        return Some(Access { kind: "registry".into(), name: name.into(), actions: vec!["*".into()] });
    }
    let repository: Repository = name.parse().ok().filter(|_| kind == "repository")?;
    let rights = caller.rights(&repository);
    let wanted: Vec<&str> = actions.split(',').collect();
    let actions: Vec<String> = [Action::Pull, Action::Push, Action::Delete]
        .into_iter()
        .filter(|action| rights.has(*action) && (wanted.contains(&action.as_str()) || wanted.contains(&"*")))
        .map(|action| action.as_str().to_owned())
        .collect();
    (!actions.is_empty()).then(|| Access { kind: "repository".into(), name: name.into(), actions })
}

/// Writes a file that only we may read, whole or not at all.
fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
