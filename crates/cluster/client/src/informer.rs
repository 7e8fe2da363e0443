//! A cache of all objects of one type, kept current by list and watch.
//!
//! States of the reflector: *listing* (replaces the cache, sends the differences), *watching* (applies
//! events), *backing off* (after an error). A 410 leads back to listing, every other end to watching again
//! from the last version seen.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hako_error::Result;
use parking_lot::RwLock;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::{Api, Object};
use crate::error::is_expired;
use crate::params::ListParams;
use crate::watch::WatchEvent;

/// Changes a receiver may lag behind before it has to look at everything again.
const BACKLOG: usize = 2048;
/// How long a change waits while some receiver lags by half of that: what comes in a burst, as after a time away, is
/// more than receivers would ever lag behind otherwise.
const CATCH_UP: Duration = Duration::from_millis(1);
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LAST: Duration = Duration::from_secs(10);
/// A watch that ends sooner did not work, even if it ended without an error.
const QUICK: Duration = Duration::from_secs(2);
/// Servers end watches around here anyway; asking for it keeps half-dead connections from lasting.
const WATCH_SECONDS: u32 = 290;

/// A difference in the cache.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// The object is new (`old` is none) or different.
    Applied {
        /// What the cache held before.
        old: Option<Arc<K>>,
        /// What it holds now.
        new: Arc<K>,
    },
    /// The object is gone; this is its last known state.
    Deleted(Arc<K>),
    /// Changes were missed, or this is the receiver's first item: look at the whole cache.
    Resync,
}

/// A handle to the shared cache of one type. Cheap to clone.
///
/// `managedFields` are dropped on the way in: nothing in the process reads them, and a replace without them
/// keeps the server's.
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
    /// The reflector ends with the last of these.
    running: Arc<DropGuard>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), running: Arc::clone(&self.running) }
    }
}

impl<K> fmt::Debug for Informer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informer").field("synced", &*self.shared.synced.borrow()).finish_non_exhaustive()
    }
}

struct Shared<K> {
    cache: RwLock<Cache<K>>,
    changes: broadcast::Sender<Change<K>>,
    synced: watch::Sender<bool>,
}

/// By namespace (empty for cluster-wide kinds), then by name.
type Cache<K> = HashMap<String, BTreeMap<String, Arc<K>>>;

impl<K: Object> Informer<K> {
    pub(crate) fn start(api: Api<K>, stop: CancellationToken, running: Arc<DropGuard>) -> Self {
        let shared = Arc::new(Shared {
            cache: RwLock::default(),
            changes: broadcast::channel(BACKLOG).0,
            synced: watch::channel(false).0,
        });
        let reflector = Arc::clone(&shared);
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = reflect(&api, &reflector) => {}
            }
        });
        Self { shared, running }
    }

    /// One object; the namespace is empty for cluster-wide kinds.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.shared.cache.read().get(namespace)?.get(name).cloned()
    }

    /// All objects.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.cache.read().values().flat_map(BTreeMap::values).cloned().collect()
    }

    /// All objects of a namespace, by name.
    #[must_use]
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let cache = self.shared.cache.read();
        cache.get(namespace).map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.cache.read().values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the first list has been read.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// Returns when the first list has been read.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // INVARIANT: the sender lives in `shared`, which this handle keeps.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// Follows the cache. The first item is [`Change::Resync`], after the first list has been read.
    #[must_use]
    pub fn changes(&self) -> Changes<K> {
        Changes { receiver: self.shared.changes.subscribe(), informer: Some(self.clone()) }
    }
}

/// The changes of a cache in order; see [`Informer::changes`].
pub struct Changes<K> {
    receiver: broadcast::Receiver<Change<K>>,
    /// Until the first item is out; afterwards the receiver must not keep the cache alive.
    informer: Option<Informer<K>>,
}

impl<K> fmt::Debug for Changes<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

impl<K: Object> Changes<K> {
    /// The next change; none once the informer ended.
    pub async fn next(&mut self) -> Option<Change<K>> {
        if let Some(informer) = &self.informer {
            informer.synced().await;
            self.receiver = self.receiver.resubscribe();
            self.informer = None;
            return Some(Change::Resync);
        }
        match self.receiver.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                self.receiver = self.receiver.resubscribe();
                Some(Change::Resync)
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

async fn reflect<K: Object>(api: &Api<K>, shared: &Shared<K>) {
    let mut version: Option<String> = None;
    let mut backoff = BACKOFF_FIRST;
    loop {
        let start = Instant::now();
        let outcome = follow(api, shared, &mut version).await;
        if start.elapsed() > QUICK {
            backoff = BACKOFF_FIRST;
        }
        match outcome {
            Err(error) if is_expired(&error) => version = None,
            Err(error) => {
                tracing::debug!(kind = K::KIND, error = %error.chain(), "watch ended, trying again");
            }
            Ok(()) => {}
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_LAST);
    }
}

/// Lists if there is no version, then watches until the watch ends.
async fn follow<K: Object>(api: &Api<K>, shared: &Shared<K>, version: &mut Option<String>) -> Result<()> {
    let from = match version {
        Some(version) => version,
        None => {
            let list = api.list_all(&ListParams::default()).await?;
            shared.replace_all(list.items);
            version.insert(list.resource_version)
        }
    };
    let params = ListParams { timeout_seconds: Some(WATCH_SECONDS), ..ListParams::default() };
    let mut events = api.watch(&params, from).await?;
    while let Some(event) = events.next().await {
        *from = match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => shared.apply(object),
            WatchEvent::Deleted(object) => shared.delete(object),
            WatchEvent::Bookmark { resource_version, .. } => resource_version,
        };
        shared.wait_for_receivers().await;
    }
    Ok(())
}

impl<K: Object> Shared<K> {
    /// Lets receivers take what they were sent. One that has lost changes already is not waited for, so that
    /// who never looks costs `BACKLOG` short waits at most.
    async fn wait_for_receivers(&self) {
        // A watch has many events in one buffer and is always ready: without this nobody else would get a turn.
        tokio::task::coop::consume_budget().await;
        if (BACKLOG / 2..BACKLOG).contains(&self.changes.len()) {
            tokio::time::sleep(CATCH_UP).await;
        }
    }

    fn apply(&self, mut object: K) -> String {
        object.metadata_mut().managed_fields = None;
        let version = version_of(&object);
        let new = Arc::new(object);
        let (namespace, name) = key_of(&*new);
        // INVARIANT: changes are sent under the cache's lock, so their order is the cache's.
        let mut cache = self.cache.write();
        let old = cache.entry(namespace).or_default().insert(name, Arc::clone(&new));
        let _ = self.changes.send(Change::Applied { old, new });
        version
    }

    fn delete(&self, object: K) -> String {
        let version = version_of(&object);
        let (namespace, name) = key_of(&object);
        let mut cache = self.cache.write();
        let Some(objects) = cache.get_mut(&namespace) else {
            return version;
        };
        if objects.remove(&name).is_some() {
            let _ = self.changes.send(Change::Deleted(Arc::new(object)));
        }
        if objects.is_empty() {
            cache.remove(&namespace);
        }
        version
    }

    fn replace_all(&self, items: Vec<K>) {
        let mut cache = self.cache.write();
        let mut gone = std::mem::take(&mut *cache);
        for mut item in items {
            item.metadata_mut().managed_fields = None;
            let (namespace, name) = key_of(&item);
            let old = gone.get_mut(&namespace).and_then(|objects| objects.remove(&name));
            let same = old.as_ref().filter(|old| {
                let (old, new) = (old.metadata(), item.metadata());
                old.resource_version == new.resource_version && old.uid == new.uid
            });
            let new = same.cloned().unwrap_or_else(|| Arc::new(item));
            let unchanged = same.is_some();
            cache.entry(namespace).or_default().insert(name, Arc::clone(&new));
            if !unchanged {
                let _ = self.changes.send(Change::Applied { old, new });
            }
        }
        for object in gone.into_values().flat_map(BTreeMap::into_values) {
            let _ = self.changes.send(Change::Deleted(object));
        }
        drop(cache);
        self.synced.send_replace(true);
    }
}

fn key_of<K: Object>(object: &K) -> (String, String) {
    let meta = object.metadata();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn version_of<K: Object>(object: &K) -> String {
    object.metadata().resource_version.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use bytes::Bytes;
    use futures::future::BoxFuture;
    use hako_error::Error;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;
    use crate::transport::{Body, Transport, body_from};
    use crate::{Client, Informers};

    const BURST: usize = 4 * BACKLOG;

    fn object(at: usize) -> serde_json::Value {
        json!({"metadata": {"name": format!("o{at}"), "namespace": "default", "resourceVersion": at.to_string()}})
    }

    /// A server where nothing is, and then so much happens that it comes as one piece.
    #[derive(Default)]
    struct Burst {
        is_over: AtomicBool,
    }

    impl Transport for Burst {
        fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>>> {
            let watches = request.uri().query().is_some_and(|query| query.contains("watch"));
            let body = if !watches {
                json!({"metadata": {"resourceVersion": "1"}, "items": []}).to_string()
            } else if self.is_over.swap(true, Ordering::Relaxed) {
                return Box::pin(async { Err(Error::new(hako_error::Kind::Unavailable, "over")) });
            } else {
                (2..BURST).map(|at| format!("{}\n", json!({"type": "ADDED", "object": object(at)}))).collect()
            };
            Box::pin(async { Ok(http::Response::new(body_from(body.into()))) })
        }
    }

    #[tokio::test]
    async fn a_receiver_that_keeps_reading_misses_nothing_of_a_burst() {
        let informers = Informers::new(Client::new(Arc::new(Burst::default())));
        let informer = informers.get::<ConfigMap>();
        let mut changes = informer.changes();
        assert!(matches!(changes.next().await, Some(Change::Resync)), "the first item");
        assert!(informer.len() < BACKLOG, "most of the burst is still to come");
        for at in informer.len() + 2..BURST {
            let Some(Change::Applied { new, .. }) = changes.next().await else {
                panic!("change {at} was missed");
            };
            assert_eq!(new.metadata.name, Some(format!("o{at}")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_reads_does_not_keep_the_cache_from_being_current() {
        let informers = Informers::new(Client::new(Arc::new(Burst::default())));
        let informer = informers.get::<ConfigMap>();
        let mut changes = informer.changes();
        assert!(matches!(changes.next().await, Some(Change::Resync)), "the first item");
        let waits = (0..BACKLOG).take_while(|_| informer.len() < BURST - 2);
        for _ in waits {
            tokio::time::sleep(CATCH_UP).await;
        }
        assert_eq!(informer.len(), BURST - 2, "it waits for who has lost changes already");
        assert!(matches!(changes.next().await, Some(Change::Resync)), "what it missed");
    }
}
