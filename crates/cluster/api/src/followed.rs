//! What this process keeps in memory of a part of the store: read whole, then followed.
//!
//! Owns: when it is read, followed, and read anew after a watch that ended.
//! Does not own: what is made of it ([`Followed`]).
//!
//! Invariant: what is kept is what the store said at some revision, all of it, and only ever moves forward.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hako_store::{Entry, Event, Range, Revision, StoreError, Watch};
use tokio_util::sync::CancellationToken;

use crate::server::Inner;

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is made of the objects below a prefix.
pub(crate) trait Followed: Send + 'static {
    /// Where they are.
    const PREFIX: &'static str;
    /// What they are, for people.
    const WHAT: &'static str;

    /// Takes in all there are, in place of what was known before.
    fn load(&mut self, server: &Arc<Inner>, entries: &[Arc<Entry>]);

    /// Takes in what has changed since.
    fn change(&mut self, server: &Arc<Inner>, events: &[Arc<Event>]);

    /// Does what follows from either and takes longer; whether all of it is done. What is not is tried again, though
    /// nothing changes.
    fn settle(&mut self, _server: &Arc<Inner>) -> impl Future<Output = bool> + Send {
        std::future::ready(true)
    }
}

/// What of a key is behind the prefix.
pub(crate) fn rest<F: Followed>(key: &[u8]) -> &str {
    std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(F::PREFIX)).unwrap_or("")
}

/// Reads what there is now, and follows it until the server ends.
pub(crate) async fn follow<F: Followed>(server: &Arc<Inner>, mut followed: F) -> Result<(), StoreError> {
    let after = load(server, &mut followed).await?;
    tokio::spawn(keep(Arc::downgrade(server), followed, after, server.stop.clone()));
    Ok(())
}

fn prefix<F: Followed>() -> Bytes {
    Bytes::from_static(F::PREFIX.as_bytes())
}

async fn load<F: Followed>(server: &Arc<Inner>, followed: &mut F) -> Result<Revision, StoreError> {
    let page = server.config.store.range(Range::all(prefix::<F>())).await?;
    followed.load(server, &page.entries);
    Ok(page.revision)
}

async fn keep<F: Followed>(
    server: Weak<Inner>,
    mut followed: F,
    mut after: Revision,
    stop: CancellationToken,
) {
    loop {
        let Some(inner) = server.upgrade() else { return };
        let is_settled = followed.settle(&inner).await;
        let watch = inner.config.store.watch(prefix::<F>(), after).await;
        drop(inner);
        if let Ok(watch) = watch {
            until_broken(&server, &mut followed, watch, is_settled, &stop).await;
        }
        if stop.is_cancelled() {
            return;
        }
        let Some(inner) = server.upgrade() else { return };
        match load(&inner, &mut followed).await {
            Ok(revision) => after = revision,
            Err(error) => {
                tracing::warn!(%error, "{} could not be read", F::WHAT);
                drop(inner);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn until_broken<F: Followed>(
    server: &Weak<Inner>,
    followed: &mut F,
    mut watch: Watch,
    mut is_settled: bool,
    stop: &CancellationToken,
) {
    loop {
        let change = async {
            match is_settled {
                true => Some(watch.next().await),
                false => tokio::time::timeout(AGAIN, watch.next()).await.ok(),
            }
        };
        let Some(change) = stop.run_until_cancelled(change).await else { return };
        let Some(inner) = server.upgrade() else { return };
        match change {
            // Nothing has changed, and it is time to try again.
            None => {}
            Some(Some(Ok(batch))) if batch.events.is_empty() => continue,
            Some(Some(Ok(batch))) => followed.change(&inner, &batch.events),
            Some(_) => return,
        }
        is_settled = followed.settle(&inner).await;
    }
}
