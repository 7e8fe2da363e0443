//! Signing.

use hako_error::{Error, Kind, Result};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::ISSUER;
use super::claims::{Claims, Kubernetes, Reference};
use crate::pki::Pki;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub namespace: String,
    pub account: Reference,
    /// For whom it is; the API itself where empty.
    pub audiences: Vec<String>,
    /// How long it lasts.
    pub seconds: i64,
    pub bound: Option<Bound>,
}

/// With what a token ends.
#[derive(Clone, Debug)]
pub(crate) enum Bound {
    /// A pod, and the node it is on if it is on one.
    Pod(Reference, Option<Reference>),
    Secret(Reference),
    Node(Reference),
}

/// A token and when it ends.
pub(crate) fn issue(pki: &Pki, wanted: Wanted) -> Result<(String, Timestamp)> {
    let now = Timestamp::now().as_second();
    let expires = now.saturating_add(wanted.seconds);
    let (mut pod, mut secret, mut node) = (None, None, None);
    match wanted.bound {
        Some(Bound::Pod(one, on)) => (pod, node) = (Some(one), on),
        Some(Bound::Secret(one)) => secret = Some(one),
        Some(Bound::Node(one)) => node = Some(one),
        None => {}
    }
    let aud = if wanted.audiences.is_empty() { vec![ISSUER.to_owned()] } else { wanted.audiences };
    let claims = Claims {
        aud,
        exp: expires,
        iat: now,
        iss: ISSUER.to_owned(),
        jti: uuid::Uuid::new_v4().to_string(),
        sub: format!("system:serviceaccount:{}:{}", wanted.namespace, wanted.account.name),
        kubernetes: Kubernetes {
            namespace: wanted.namespace,
            node,
            pod,
            secret,
            serviceaccount: wanted.account,
        },
        nbf: now,
    };
    let fault = |source| Error::new(Kind::Internal, "sign a token of a service account").with_source(source);
    let accounts = pki.accounts();
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(accounts.id().to_owned());
    let key = EncodingKey::from_ec_pem(accounts.private_pem().as_bytes()).map_err(fault)?;
    let token = encode(&header, &claims, &key).map_err(fault)?;
    let ends = Timestamp::from_second(expires)
        .map_err(|error| Error::new(Kind::Invalid, "a token cannot last that long").with_source(error))?;
    Ok((token, ends))
}
