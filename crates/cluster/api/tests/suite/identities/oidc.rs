//! OpenID Connect.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hako_api::ExternalOptions;
use hako_api::pki::{Pki, ServerNames};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{elsewhere, file, whoami};
use crate::support::World;

/// An issuer with one key, and a server that believes it.
pub struct Bed {
    pub world: World,
    issuer: String,
    key: rcgen::KeyPair,
    _dir: tempfile::TempDir,
}

impl Bed {
    async fn start() -> Self {
        let jwt = json!({
            "claimValidationRules": [{"claim": "hd", "requiredValue": "example.com"}],
            "claimMappings": {
                "username": {"claim": "email", "prefix": "oidc:"},
                "groups": {"claim": "roles", "prefix": "oidc:"},
                "uid": {"claim": "sub"},
            },
        });
        Self::with(jwt).await
    }

    /// With what is said of the issuer besides where it is; what of that is given is added to it.
    pub async fn with(mut jwt: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(&dir.path().join("pki"), &ServerNames::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let point = key.public_key_raw();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "k1", "alg": "ES256", "use": "sig", "x": part(1..33), "y": part(33..65)});
        let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
        let answer: elsewhere::Answer = Arc::new(move |path, _| match path {
            "/.well-known/openid-configuration" => (200, document.clone()),
            "/elsewhere" => (200, document.clone()),
            "/keys" => (200, json!({"keys": [jwk]})),
            _ => (404, Value::Null),
        });
        elsewhere::serve(listener, Some(pki.node_server("issuer", &[]).unwrap()), answer);
        let mut at = json!({"url": issuer, "audiences": ["cluster"], "certificateAuthority": pki.ca()});
        // A path is one of the issuer's server.
        for (key, value) in jwt["issuer"].as_object().into_iter().flatten() {
            at[key] = match value.as_str() {
                Some(path) if path.starts_with('/') => format!("{issuer}{path}").into(),
                _ => value.clone(),
            };
        }
        jwt["issuer"] = at;
        let configuration = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [jwt],
        });
        let path = file(&dir, "authentication.yaml", &configuration.to_string());
        let options = ExternalOptions { authentication_config: Some(path), ..ExternalOptions::default() };
        Self { world: World::start_external(&options).await, issuer, key, _dir: dir }
    }

    /// Good claims, but for those that are given.
    pub fn claims(&self, changes: Value) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": self.issuer, "aud": "cluster", "exp": now + 600, "sub": "7", "email": "jane@example.com",
            "email_verified": true, "roles": ["dev", "ops"], "hd": "example.com",
        });
        for (key, value) in changes.as_object().unwrap() {
            claims[key] = value.clone();
        }
        claims
    }

    /// A token with them.
    pub fn token(&self, changes: Value) -> String {
        let claims = self.claims(changes);
        let header = jsonwebtoken::Header {
            kid: Some("k1".into()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256)
        };
        let key = jsonwebtoken::EncodingKey::from_ec_pem(self.key.serialize_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }

    /// Who the server takes a good token with other claims for; none where it is nobody's.
    pub async fn user(&self, changes: Value) -> Option<Value> {
        let (code, user) = whoami(&self.world, None, Some(&self.token(changes)), &[]).await;
        assert!(code == 201 || code == 401, "{code}: {user}");
        (code == 201).then_some(user)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_configured_issuer_is_who_its_claims_say() {
    let bed = Bed::start().await;
    let (code, user) = whoami(&bed.world, None, Some(&bed.token(json!({}))), &[]).await;
    assert_eq!((code, &user["username"]), (201, &json!("oidc:jane@example.com")), "{user}");
    assert_eq!(user["groups"], json!(["oidc:dev", "oidc:ops", "system:authenticated"]));
    assert_eq!(user["uid"], "7");
    let (_, user) = whoami(&bed.world, None, Some(&bed.token(json!({"roles": "dev"}))), &[]).await;
    assert_eq!(user["groups"], json!(["oidc:dev", "system:authenticated"]), "one text is a list of one");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_break_a_rule_are_unauthorized() {
    let bed = Bed::start().await;
    for changes in [
        json!({"exp": 1}),
        json!({"aud": "other"}),
        json!({"hd": "example.org"}),
        json!({"email_verified": false}),
        json!({"email": null}),
        json!({"iss": "https://other.example"}),
        json!({"roles": 5}),
    ] {
        let token = bed.token(changes.clone());
        assert_eq!(whoami(&bed.world, None, Some(&token), &[]).await.0, 401, "{changes}");
    }
    let token = bed.token(json!({}));
    let (head, rest) = token.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let forged = bed.token(json!({"email": "root@example.com"}));
    let body = forged.split('.').nth(1).unwrap();
    assert_eq!(whoami(&bed.world, None, Some(&format!("{head}.{body}.{signature}")), &[]).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_s_document_may_be_elsewhere_and_one_of_its_audiences_is_enough() {
    let bed = Bed::with(json!({
        "issuer": {"discoveryURL": "/elsewhere", "audiences": ["cluster", "other"], "audienceMatchPolicy": "MatchAny"},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
    }))
    .await;
    for audience in [json!("other"), json!("cluster"), json!(["else", "other"])] {
        let user = bed.user(json!({"aud": audience})).await;
        assert_eq!(user.unwrap_or_default()["username"], "7", "{audience}");
    }
    assert_eq!(bed.user(json!({"aud": "else"})).await, None);
}
