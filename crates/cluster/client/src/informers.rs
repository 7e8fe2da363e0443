//! The process's shared caches: one per type.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::api::Object;
use crate::client::Client;
use crate::informer::Informer;

/// Hands out the informer of each type; the first who asks starts it. Cheap to clone.
/// Needs a tokio runtime. All informers end when the last clone is dropped, or by [`Informers::stop`].
#[derive(Clone)]
pub struct Informers {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    stop: CancellationToken,
    by_type: Mutex<HashMap<TypeId, Box<dyn Any + Send + Sync>>>,
}

impl fmt::Debug for Informers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informers")
            .field("types", &self.inner.by_type.lock().len())
            .finish()
    }
}

impl Informers {
    /// No informer runs yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let inner = Inner {
            client,
            stop: CancellationToken::new(),
            by_type: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The shared cache of all objects of type `K`, started by the first call.
    #[must_use]
    pub fn get<K: Object>(&self) -> Informer<K> {
        let mut by_type = self.inner.by_type.lock();
        let entry = by_type.entry(TypeId::of::<K>()).or_insert_with(|| {
            Box::new(Informer::<K>::start(
                self.inner.client.all(),
                self.inner.stop.clone(),
            ))
        });
        entry
            .downcast_ref::<Informer<K>>()
            .expect("the map's key is the type's id")
            .clone()
    }

    /// Ends all informers; their last state stays readable.
    pub fn stop(&self) {
        self.inner.stop.cancel();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
