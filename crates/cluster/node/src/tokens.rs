//! Tokens of the accounts that pods run as: asked for, kept, and renewed before they end.

use hako_client::Client;
use hako_error::{Error, Kind, Result};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;

/// A token is renewed when that much of its life is over.
const USED_PERCENT: i64 = 80;
/// However long it lives: a key that signs tokens may be withdrawn.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
/// One that could not be renewed is tried again after that time.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

/// What a volume asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TokenWish {
    /// For whom; empty for the API itself.
    pub(crate) audience: String,
    /// How long it should live.
    pub(crate) seconds: i64,
}

/// A token. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// When another one is wanted.
    pub(crate) renew_at: Timestamp,
    ends_at: Timestamp,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("renew_at", &self.renew_at).finish_non_exhaustive()
    }
}

/// The tokens of all pods of the node, by the pod's uid. What is lost with the process is asked for again.
pub(crate) struct Tokens {
    client: Client,
    kept: Mutex<HashMap<String, HashMap<TokenWish, Token>>>,
}

impl Tokens {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, kept: Mutex::default() }
    }

    /// The token a pod shows: the one it has, or a new one when that is old.
    pub(crate) async fn get(&self, pod: &Pod, wish: &TokenWish, now: Timestamp) -> Result<Token> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let kept = self.kept.lock().get(&uid).and_then(|tokens| tokens.get(wish)).cloned();
        if let Some(token) = kept.as_ref().filter(|token| now < token.renew_at) {
            return Ok(token.clone());
        }
        let token = match (self.request(pod, wish, now).await, kept) {
            (Ok(token), _) => token,
            // The old one is good for a while yet.
            (Err(error), Some(old)) if now < old.ends_at => {
                tracing::warn!(pod = uid, error = %error.chain(), "a token was not renewed");
                Token { renew_at: now.saturating_add(RETRY).unwrap_or(now), ..old }
            }
            (Err(error), _) => return Err(error),
        };
        self.kept.lock().entry(uid).or_default().insert(wish.clone(), token.clone());
        Ok(token)
    }

    /// Forgets the tokens of a pod that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.kept.lock().remove(uid);
    }

    async fn request(&self, pod: &Pod, wish: &TokenWish, now: Timestamp) -> Result<Token> {
        let (meta, spec) = (&pod.metadata, pod.spec.as_ref());
        let account = spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let audiences: Vec<&str> =
            Some(wish.audience.as_str()).filter(|it| !it.is_empty()).into_iter().collect();
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": wish.seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
            },
        });
        let accounts =
            self.client.namespaced::<ServiceAccount>(meta.namespace.as_deref().unwrap_or("default"));
        let answer = accounts.create_subresource(account, "token", &body).await?;
        let text = answer.pointer("/status/token").and_then(Value::as_str).unwrap_or("");
        if text.is_empty() {
            return Err(Error::new(Kind::Internal, format!("no token came for service account {account:?}")));
        }
        // From our own clock: that of the API may differ.
        let seconds =
            answer.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(wish.seconds);
        let after = |time: SignedDuration| now.saturating_add(time).unwrap_or(now);
        let used =
            SignedDuration::from_secs(seconds / 100 * USED_PERCENT + seconds % 100 * USED_PERCENT / 100);
        let ends_at = after(SignedDuration::from_secs(seconds));
        Ok(Token { text: text.to_owned(), renew_at: after(used.min(LONGEST)), ends_at })
    }
}
