//! How others check tokens of service accounts: OpenID Connect Discovery 1.0, section 4, and JSON Web Keys (RFC 7517).

use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::token::ISSUER;
use crate::http::{Answer, answer};
use crate::pki::Pki;

/// `/.well-known/openid-configuration`.
pub(super) fn configuration() -> Value {
    json!({
        "issuer": ISSUER,
        "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

/// `/openid/v1/jwks`.
pub(super) fn keys(pki: &Pki) -> Answer {
    let key = pki.accounts();
    let (x, y) = key.coordinates();
    let keys = json!({"keys": [{
        "use": "sig", "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": key.id(), "x": x, "y": y,
    }]});
    answer::respond(StatusCode::OK, "application/jwk-set+json", keys.to_string().into())
}
