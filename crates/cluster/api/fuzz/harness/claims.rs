//! A token of OpenID Connect: the first byte says whether the rest is a whole token, or what the issuer signed, as it is. It is
//! somebody only by the issuer's signature, and then who its claims say.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hako_api::pki::{Pki, ServerNames};
use hako_api::{External, ExternalOptions};
use http::{Request, StatusCode, header};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::issuer;

const PREFIX: &str = "oidc:";

struct Bed {
    cluster: Cluster,
    key: EncodingKey,
    issuer: String,
}

fn bed() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(Bed::start)
}

impl Bed {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let pki = Pki::open(&dir.path().join("pki"), &ServerNames::default()).expect("an authority");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let issuer = format!("https://{}", listener.local_addr().expect("an address"));
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let point = key.public_key_raw();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": part(1..33), "y": part(33..65)});
        let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
        let pair = pki.node_server("issuer", &[]).expect("a certificate");
        issuer::serve(listener, &pair, move |path| match path {
            "/keys" => json!({"keys": [jwk]}),
            _ => document.clone(),
        });
        let configuration = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": [{
                "issuer": {"url": issuer, "audiences": ["cluster"], "certificateAuthority": pki.ca()},
                "claimValidationRules": [
                    {"expression": "!has(claims.depth) || claims.depth.all(x, x != 'x')", "message": "m"},
                ],
                "claimMappings": {
                    "username": {"claim": "sub", "prefix": PREFIX},
                    "groups": {"expression": "has(claims.roles) ? claims.roles : []"},
                    "extra": [{"key": "example.com/a", "valueExpression": "has(claims.a) ? string(claims.a) : ''"}],
                },
            }],
        });
        let path = dir.path().join("authentication.json");
        std::fs::write(&path, configuration.to_string()).expect("written");
        let options = ExternalOptions { authentication_config: Some(path), ..ExternalOptions::default() };
        let external = Arc::new(External::load(&options).expect("a configuration"));
        let cluster = Cluster::start(|config| config.external = external);
        let key = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).expect("a key");
        // It is read; nobody would drop it with what is static.
        drop(dir);
        Self { cluster, key, issuer }
    }
}

/// Claims that are good, with those that are given.
pub fn claims(changes: Value) -> String {
    let mut claims = json!({"iss": bed().issuer, "aud": "cluster", "exp": 4_000_000_000_u64, "sub": "jane"});
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims.to_string()
}

/// What the issuer makes of claims.
pub fn signed(claims: &[u8]) -> String {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#);
    let message = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(message.as_bytes(), &bed().key, Algorithm::ES256).expect("a signature");
    format!("{message}.{signature}")
}

pub fn run(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    if how % 2 == 1 {
        let user = asked(signed(rest).as_bytes());
        let said: Value = serde_json::from_slice(rest).unwrap_or_default();
        if let Some(user) = user {
            let name = format!("{PREFIX}{}", said["sub"].as_str().expect("whose name is a text"));
            assert_eq!(user["username"], name, "{said}");
            assert_eq!(said["iss"], bed().issuer);
        }
        return;
    }
    let Some(user) = asked(rest) else { return };
    // Who changes a letter behind the last octet's bits changes nothing.
    let text = String::from_utf8_lossy(rest);
    let body =
        text.split('.').nth(1).map(|body| URL_SAFE_NO_PAD.decode(body)).expect("claims").expect("octets");
    assert!(SEEDS.get().is_some_and(|seeds| seeds.contains(&body)), "{text} is {user}");
}

/// The claims of the tokens among the seeds; no other one was signed.
pub static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();

/// Who the server takes somebody for; every token is somebody's or unauthorized.
fn asked(token: &[u8]) -> Option<Value> {
    let review = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
    let value = header::HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, value);
    let request = request.body(Bytes::from(review)).expect("a request");
    let (status, answer) = bed().cluster.ask(&bed().cluster.stranger, request);
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    match status {
        StatusCode::CREATED => Some(answer["status"]["userInfo"].clone()),
        // Without a token a stranger is anonymous, and may not ask.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => None,
        other => panic!("{other}: {answer}"),
    }
}
