//! Keeps the lists as the store is.

use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use hako_store::{EventKind, Range, Revision, StoreError};
use tokio_util::sync::CancellationToken;

use super::{Index, Part};
use crate::server::Inner;

const PREFIX: &str = "/registry/admissionregistration.k8s.io/";
/// How long after a failure of the store it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Reads all that is registered now; the revision of that.
pub(crate) async fn load(server: &Inner) -> Result<(Index, Revision), StoreError> {
    let page = server.config.store.range(Range::all(Bytes::from_static(PREFIX.as_bytes()))).await?;
    let mut index = Index::default();
    for entry in &page.entries {
        take(&mut index, &entry.key, Some(&entry.value));
    }
    server.registered.set(&index);
    Ok((index, page.revision))
}

/// Follows the store from a revision until the server ends.
pub(crate) async fn follow(
    server: Weak<Inner>,
    mut index: Index,
    mut after: Revision,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let Some(inner) = server.upgrade() else { return };
        let watch = inner.config.store.watch(Bytes::from_static(PREFIX.as_bytes()), after).await;
        drop(inner);
        if let Ok(watch) = watch {
            after = until_broken(&server, &mut index, watch, after, &stop).await;
        }
        if stop.is_cancelled() {
            return;
        }
        let Some(inner) = server.upgrade() else { return };
        match load(&inner).await {
            Ok(read) => (index, after) = read,
            Err(error) => {
                tracing::warn!(%error, "webhooks and policies could not be read");
                drop(inner);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn until_broken(
    server: &Weak<Inner>,
    index: &mut Index,
    mut watch: hako_store::Watch,
    mut after: Revision,
    stop: &CancellationToken,
) -> Revision {
    while let Some(Some(Ok(batch))) = stop.run_until_cancelled(watch.next()).await {
        let Some(inner) = server.upgrade() else { return after };
        for event in &batch.events {
            let stored = (event.kind == EventKind::Put).then_some(&event.entry.value[..]);
            take(index, &event.entry.key, stored);
        }
        if !batch.events.is_empty() {
            inner.registered.set(index);
        }
        after = batch.revision;
    }
    after
}

/// Takes in what a key holds.
fn take(index: &mut Index, key: &[u8], stored: Option<&[u8]>) {
    let Some((part, name)) = place(key) else { return };
    let object = stored.and_then(|stored| serde_json::from_slice(stored).ok());
    index.put(part, name, object.as_ref());
}

/// What a key is of, and the name.
fn place(key: &[u8]) -> Option<(Part, &str)> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
    let (plural, name) = rest.split_once('/')?;
    let part = match plural {
        "mutatingwebhookconfigurations" => Part::MutatingHooks,
        "validatingwebhookconfigurations" => Part::ValidatingHooks,
        "mutatingadmissionpolicies" => Part::Mutating,
        "mutatingadmissionpolicybindings" => Part::MutatingBinding,
        "validatingadmissionpolicies" => Part::Validating,
        "validatingadmissionpolicybindings" => Part::ValidatingBinding,
        _ => return None,
    };
    Some((part, name))
}
