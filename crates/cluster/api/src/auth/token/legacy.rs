//! Tokens that are kept in Secrets: the Secret notes when its token was last used, so that those nobody uses are found,
//! and says when one is good no more.

use hako_store::{Entry, Expect, Store, Write};
use serde_json::Value;

use super::claims::Reference;
use crate::kinds;
use crate::resource::{encode_stored, registry_key};

const TYPE: &str = "kubernetes.io/service-account-token";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const USE_OTHERS: &str = "Use tokens from the TokenRequest API or manually created secret-based tokens instead of \
                          auto-generated secret-based tokens.";

/// Notes that the token of a Secret is used; a warning for its user, or why it must not be used.
pub(super) async fn used(
    store: &dyn Store,
    namespace: &str,
    secret: &Reference,
    account: &Reference,
) -> Result<Option<&'static str>, String> {
    let Some((entry, object)) = find(store, "secrets", namespace, &secret.name).await? else {
        return Ok(None);
    };
    if object["type"] != TYPE {
        return Ok(None);
    }
    note(store, &entry, object.clone()).await;
    if !label(&object, INVALID_SINCE).is_empty() {
        let (name, of) = (&secret.name, &account.name);
        return Err(format!(
            "the token in secret {namespace}/{name} for service account {namespace}/{of} has been marked invalid. Use \
             tokens from the TokenRequest API or manually created secret-based tokens, or remove the \
             '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
        ));
    }
    let account = find(store, "serviceaccounts", namespace, &account.name).await?;
    let listed = account.iter().flat_map(|(_, account)| account["secrets"].as_array().into_iter().flatten());
    let is_listed = listed.into_iter().any(|one| one["name"] == secret.name.as_str());
    Ok(is_listed.then_some(USE_OTHERS))
}

async fn find(
    store: &dyn Store,
    plural: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<(std::sync::Arc<Entry>, Value)>, String> {
    let row = kinds::by_resource("", "v1", plural).ok_or_else(|| format!("{plural} are not served"))?;
    let read = store.get(&registry_key(row, namespace, name)).await.map_err(|error| error.to_string())?;
    let decode = |entry: std::sync::Arc<Entry>| {
        let object = serde_json::from_slice(&entry.value).ok()?;
        Some((entry, object))
    };
    Ok(read.entry.and_then(decode))
}

fn label<'a>(object: &'a Value, name: &str) -> &'a str {
    object.pointer("/metadata/labels").and_then(|labels| labels.get(name)?.as_str()).unwrap_or("")
}

/// Once a day; another day is as good should somebody change the Secret meanwhile.
async fn note(store: &dyn Store, entry: &Entry, mut secret: Value) {
    let today = hako_kube::time::today();
    if label(&secret, LAST_USED) >= today.as_str() {
        return;
    }
    secret["metadata"]["labels"][LAST_USED] = today.into();
    let Some(row) = kinds::by_resource("", "v1", "secrets") else { return };
    let Ok(bytes) = encode_stored(row, &mut secret) else { return };
    let write = Write::put(entry.key.clone(), bytes, Expect::At(entry.modified));
    if let Err(error) = store.write(write).await {
        tracing::debug!(%error, "the last use of a token was not noted");
    }
}
