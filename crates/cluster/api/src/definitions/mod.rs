//! Which definitions of custom resources are in effect.
//!
//! Owns: following the stored definitions, which names are whose, their conditions, putting the kinds that come of them
//! into the registry and taking them out, and clearing away the objects of one that is deleted.
//! Does not own: what a definition means (`kinds`), the objects (`resource`).
//!
//! Invariant: the registry is changed here alone, and before the definition says that it is so. What is said in a status
//! follows from the specs and from what was accepted before; any server may say it again.

mod clear;
mod known;
mod names;
mod tell;

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hako_error::Result;
use hako_store::{EventKind, Range, Revision, StoreError};
use tokio_util::sync::CancellationToken;

use crate::server::Inner;
use known::Known;

const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
/// How long after a failure of the store it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Puts into effect what is stored, and follows it from then on.
pub(crate) async fn start(server: &Arc<Inner>) -> Result<()> {
    let mut known = Known::default();
    let revision = load(server, &mut known).await?;
    tokio::spawn(follow(Arc::downgrade(server), known, revision, server.stop.clone()));
    Ok(())
}

/// Reads all; the revision of that.
async fn load(server: &Arc<Inner>, known: &mut Known) -> Result<Revision, StoreError> {
    let page = server.config.store.range(Range::all(Bytes::from_static(PREFIX.as_bytes()))).await?;
    known.keep_only(page.entries.iter().map(|entry| name_of(&entry.key)));
    for entry in &page.entries {
        known.put(name_of(&entry.key), entry);
    }
    known.settle(server);
    Ok(page.revision)
}

fn name_of(key: &[u8]) -> &str {
    std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(PREFIX)).unwrap_or("")
}

async fn follow(server: Weak<Inner>, mut known: Known, mut after: Revision, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let Some(inner) = server.upgrade() else { return };
        tell::all(&inner, &mut known).await;
        let watch = inner.config.store.watch(Bytes::from_static(PREFIX.as_bytes()), after).await;
        drop(inner);
        if let Ok(watch) = watch {
            until_broken(&server, watch, &mut known, &stop).await;
        }
        if stop.is_cancelled() {
            return;
        }
        let Some(inner) = server.upgrade() else { return };
        match load(&inner, &mut known).await {
            Ok(revision) => after = revision,
            Err(error) => {
                tracing::warn!(%error, "definitions of custom resources could not be read");
                drop(inner);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn until_broken(
    server: &Weak<Inner>,
    mut watch: hako_store::Watch,
    known: &mut Known,
    stop: &CancellationToken,
) {
    while let Some(Some(Ok(batch))) = stop.run_until_cancelled(watch.next()).await {
        let Some(inner) = server.upgrade() else { return };
        for event in &batch.events {
            match event.kind {
                EventKind::Put => known.put(name_of(&event.entry.key), &event.entry),
                EventKind::Delete => known.remove(name_of(&event.entry.key)),
            }
        }
        known.settle(&inner);
        tell::all(&inner, known).await;
    }
}
