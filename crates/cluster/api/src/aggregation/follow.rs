//! Keeps the APIServices as the store is.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hako_error::Result;
use hako_store::{EventKind, Range, Revision, StoreError};
use tokio_util::sync::CancellationToken;

use super::{ApiService, Services, check, locals};
use crate::server::Inner;

const PREFIX: &str = "/registry/apiregistration.k8s.io/apiservices/";
/// How long after a failure of the store it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Makes the APIServices of this server, reads all there are, and follows them from then on.
pub(crate) async fn start(server: &Arc<Inner>) -> Result<()> {
    // Without them all is served as with them.
    if let Err(error) = locals::make(server).await {
        tracing::warn!(%error, "the APIServices of this server's own kinds could not be made");
    }
    let revision = load(server).await?;
    let stop = server.stop.clone();
    tokio::spawn(follow(Arc::downgrade(server), revision, stop.clone()));
    tokio::spawn(locals::keep(Arc::downgrade(server), stop));
    Ok(())
}

async fn load(server: &Arc<Inner>) -> Result<Revision, StoreError> {
    let page = server.config.store.range(Range::all(Bytes::from_static(PREFIX.as_bytes()))).await?;
    let before = server.aggregated.now();
    let mut now = Services::new();
    for entry in &page.entries {
        let name = name_of(&entry.key);
        if let Some(known) = before.get(name) {
            now.insert(name.to_owned(), Arc::clone(known));
        }
        put(server, &mut now, name, &entry.value);
    }
    for (_, gone) in before.iter().filter(|(name, _)| !now.contains_key(*name)) {
        gone.end();
    }
    server.aggregated.set(now);
    Ok(page.revision)
}

fn name_of(key: &[u8]) -> &str {
    std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(PREFIX)).unwrap_or("")
}

/// Takes in what is stored; whether that is another than before.
fn put(server: &Arc<Inner>, services: &mut Services, name: &str, stored: &[u8]) -> bool {
    let Some(read) = ApiService::read(server, name, stored) else {
        tracing::warn!(name, "an APIService cannot be read and is left out");
        return remove(services, name);
    };
    let is_same = |known: &ApiService| {
        known.uid == read.uid && known.spec == read.spec && known.is_automanaged == read.is_automanaged
    };
    if services.get(name).is_some_and(|known| is_same(known)) {
        return false;
    }
    remove(services, name);
    if let Some(remote) = &read.remote {
        tokio::spawn(check::follow(Arc::downgrade(server), Arc::clone(remote)));
    }
    services.insert(name.to_owned(), Arc::new(read));
    true
}

fn remove(services: &mut Services, name: &str) -> bool {
    let gone = services.remove(name);
    if let Some(gone) = &gone {
        gone.end();
    }
    gone.is_some()
}

async fn follow(server: Weak<Inner>, mut after: Revision, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let Some(inner) = server.upgrade() else { return };
        let watch = inner.config.store.watch(Bytes::from_static(PREFIX.as_bytes()), after).await;
        drop(inner);
        if let Ok(watch) = watch {
            until_broken(&server, watch, &stop).await;
        }
        if stop.is_cancelled() {
            return;
        }
        let Some(inner) = server.upgrade() else { return };
        match load(&inner).await {
            Ok(revision) => after = revision,
            Err(error) => {
                tracing::warn!(%error, "APIServices could not be read");
                drop(inner);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn until_broken(server: &Weak<Inner>, mut watch: hako_store::Watch, stop: &CancellationToken) {
    while let Some(Some(Ok(batch))) = stop.run_until_cancelled(watch.next()).await {
        let Some(inner) = server.upgrade() else { return };
        let mut services = (*inner.aggregated.now()).clone();
        let mut has_changed = false;
        for event in &batch.events {
            let name = name_of(&event.entry.key);
            has_changed |= match event.kind {
                EventKind::Put => put(&inner, &mut services, name, &event.entry.value),
                EventKind::Delete => remove(&mut services, name),
            };
        }
        if has_changed {
            inner.aggregated.set(services);
        }
    }
}
