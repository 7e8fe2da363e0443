//! Judging a token.

use std::collections::BTreeMap;
use std::sync::Arc;

use hako_store::Store;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

use super::ISSUER;
use super::claims::{Claims, Reference};
use super::legacy;
use crate::auth::Identity;
use crate::kinds;
use crate::pki::Pki;
use crate::resource::{self, Identities, registry_key};

/// Clocks may differ by that many seconds.
const LEEWAY: u64 = 10;
/// What is on its way out stands for its tokens that many seconds longer, as upstream has it: after a pod's grace, too.
const DELETED_FOR: i64 = 60;
/// A longer token is none of ours.
const LONGEST: usize = 16 << 10;

/// Whose token it is, and for whom.
#[derive(Debug)]
pub(crate) struct Verified {
    pub identity: Identity,
    pub audiences: Vec<String>,
    /// What its user is told.
    pub warning: Option<&'static str>,
}

/// Whose token it is; the reason, without a word of the token, if it is not good for any of `audiences`.
pub(crate) async fn verify(
    pki: &Pki,
    (store, identities): (&dyn Store, &Identities),
    token: &str,
    audiences: &[String],
) -> Result<Verified, String> {
    let claims = claims(pki, token, audiences)?;
    let of = &claims.kubernetes;
    let account = &of.serviceaccount;
    let objects = (store, identities);
    is_there(objects, "serviceaccounts", &of.namespace, account).await?;
    if let Some(pod) = &of.pod {
        is_there(objects, "pods", &of.namespace, pod).await?;
    }
    if let Some(secret) = &of.secret {
        is_there(objects, "secrets", &of.namespace, secret).await?;
    }
    if let (None, Some(node)) = (&of.pod, &of.node) {
        is_there(objects, "nodes", "", node).await?;
    }
    let warning = match &of.secret {
        Some(secret) => legacy::used(store, &of.namespace, secret, account).await?,
        None => None,
    };
    let mut extra = BTreeMap::new();
    let mut tell = |name: &str, value: String| {
        extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value]);
    };
    tell("credential-id", format!("JTI={}", claims.jti));
    for (name, reference) in [("pod", &of.pod), ("node", &of.node)] {
        if let Some(reference) = reference {
            tell(&format!("{name}-name"), reference.name.clone());
            tell(&format!("{name}-uid"), reference.uid.clone());
        }
    }
    let mut identity = Identity::service_account(&of.namespace, &account.name);
    identity.uid.clone_from(&account.uid);
    identity.extra = extra;
    let is_shared = |audience: &&String| audiences.contains(*audience);
    let audiences = claims.aud.iter().filter(is_shared).cloned().collect();
    Ok(Verified { identity, audiences, warning })
}

fn claims(pki: &Pki, token: &str, audiences: &[String]) -> Result<Arc<Claims>, String> {
    if token.len() > LONGEST {
        return Err("the token is too long".to_owned());
    }
    let claims = pki.accounts().seen().claims(token, || judged(pki, token, audiences))?;
    // What was good once may have ended since, or be shown to somebody else.
    let now = Timestamp::now().as_second();
    if claims.exp.saturating_add(LEEWAY.cast_signed()) < now {
        return Err("the token has expired".to_owned());
    }
    let is_for_them = claims.aud.iter().any(|audience| audiences.contains(audience));
    if is_for_them { Ok(claims) } else { Err("the token is for others".to_owned()) }
}

fn judged(pki: &Pki, token: &str, audiences: &[String]) -> Result<Claims, String> {
    let mut rules = Validation::new(Algorithm::ES256);
    rules.leeway = LEEWAY;
    rules.validate_nbf = true;
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(audiences);
    rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    let accounts = pki.accounts();
    let (x, y) = accounts.coordinates();
    let key = DecodingKey::from_ec_components(x, y).map_err(|error| error.to_string())?;
    let decoded = decode::<Claims>(token, &key, &rules).map_err(|error| error.to_string())?;
    Ok(decoded.claims)
}

/// Whether an object is there, is the same, and is not long on its way out, whoever holds it.
async fn is_there(
    (store, identities): (&dyn Store, &Identities),
    plural: &str,
    namespace: &str,
    wanted: &Reference,
) -> Result<(), String> {
    let row = kinds::by_resource("", "v1", plural).ok_or_else(|| format!("{plural} are not served"))?;
    let read = store.get(&registry_key(row, namespace, &wanted.name)).await;
    let entry = read.map_err(|error| error.to_string())?.entry;
    let gone = || format!("the {} {:?} that the token is of is gone", row.singular, wanted.name);
    let entry = entry.ok_or_else(gone)?;
    let identity = identities.of(&entry).map_err(|_| gone())?;
    if stands(&identity, wanted, Timestamp::now()) { Ok(()) } else { Err(gone()) }
}

fn stands(identity: &resource::Identity, wanted: &Reference, now: Timestamp) -> bool {
    let is_over = |deleted: Timestamp| deleted.as_second() + DELETED_FOR < now.as_second();
    *identity.uid == *wanted.uid && !identity.deleted.is_some_and(is_over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_stands_for_its_tokens_until_a_minute_after_its_deletion_however_long_it_is_held() {
        let deleted = Timestamp::from_second(1_700_000_000).unwrap();
        let wanted = Reference { name: "a".to_owned(), uid: "u".to_owned() };
        let stands_after = |uid: &str, deleted: Option<Timestamp>, seconds: i64| {
            let identity = resource::Identity { uid: uid.into(), deleted };
            stands(&identity, &wanted, Timestamp::from_second(1_700_000_000 + seconds).unwrap())
        };
        assert!(stands_after("u", None, 1_000_000));
        // The end of a pod's grace lies ahead.
        assert!(stands_after("u", Some(deleted), -30));
        assert!(stands_after("u", Some(deleted), 60));
        assert!(!stands_after("u", Some(deleted), 61));
        assert!(!stands_after("another", None, 0));
    }
}
