//! Keeps the index as the store is.

use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use hako_store::{EventKind, Range, Revision, Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::index::{Index, Part};
use crate::server::Inner;

const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";
/// How long after a failure of the store it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The index as the store is now, and the revision of that.
pub(crate) async fn load(store: &dyn Store) -> Result<(Index, Revision), StoreError> {
    let page = store.range(Range::all(Bytes::from_static(PREFIX.as_bytes()))).await?;
    let mut index = Index::default();
    for entry in &page.entries {
        if let Some((part, namespace, name)) = place(&entry.key) {
            index.put(part, namespace, name, Some(&entry.value));
        }
    }
    Ok((index, page.revision))
}

/// Follows the store from a revision until the server ends.
pub(crate) async fn follow(server: Weak<Inner>, mut after: Revision, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let Some(inner) = server.upgrade() else { return };
        let watch = inner.config.store.watch(Bytes::from_static(PREFIX.as_bytes()), after).await;
        drop(inner);
        if let Ok(watch) = watch {
            after = until_broken(&server, watch, after, &stop).await;
        }
        if stop.is_cancelled() {
            return;
        }
        let Some(inner) = server.upgrade() else { return };
        match load(&*inner.config.store).await {
            Ok((index, revision)) => {
                *inner.rbac.write() = index;
                after = revision;
            }
            Err(error) => {
                tracing::warn!(%error, "roles and bindings could not be read");
                drop(inner);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn until_broken(
    server: &Weak<Inner>,
    mut watch: hako_store::Watch,
    mut after: Revision,
    stop: &CancellationToken,
) -> Revision {
    while let Some(Some(Ok(batch))) = stop.run_until_cancelled(watch.next()).await {
        let Some(inner) = server.upgrade() else { return after };
        let mut index = inner.rbac.write();
        for event in &batch.events {
            if let Some((part, namespace, name)) = place(&event.entry.key) {
                let stored = (event.kind == EventKind::Put).then_some(&event.entry.value[..]);
                index.put(part, namespace, name, stored);
            }
        }
        after = batch.revision;
    }
    after
}

/// What a key is of: part, namespace, name.
fn place(key: &[u8]) -> Option<(Part, &str, &str)> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
    let (plural, rest) = rest.split_once('/')?;
    match plural {
        "clusterroles" => Some((Part::Role, "", rest)),
        "clusterrolebindings" => Some((Part::Binding, "", rest)),
        "roles" => rest.split_once('/').map(|(namespace, name)| (Part::Role, namespace, name)),
        "rolebindings" => rest.split_once('/').map(|(namespace, name)| (Part::Binding, namespace, name)),
        _ => None,
    }
}
