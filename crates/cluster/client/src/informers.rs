//! The process's shared caches: one per type.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api::Object;
use crate::client::Client;
use crate::informer::Informer;

/// Hands out the informer of each type; the first who asks starts it. Cheap to clone.
/// Needs a tokio runtime. Informers run as long as anybody holds this, a clone of it or any informer it handed out,
/// or until [`Informers::stop`].
#[derive(Clone)]
pub struct Informers {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    running: Arc<DropGuard>,
    stop: CancellationToken,
    by_type: Mutex<HashMap<TypeId, Box<dyn Any + Send + Sync>>>,
}

impl fmt::Debug for Informers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informers").field("types", &self.inner.by_type.lock().len()).finish()
    }
}

impl Informers {
    /// No informer runs yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let stop = CancellationToken::new();
        let running = Arc::new(stop.clone().drop_guard());
        let inner = Inner { client, running, stop, by_type: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The shared cache of all objects of type `K`, started by the first call.
    #[must_use]
    pub fn get<K: Object>(&self) -> Informer<K> {
        let mut by_type = self.inner.by_type.lock();
        let entry = by_type.entry(TypeId::of::<K>()).or_insert_with(|| {
            let Inner { client, running, stop, .. } = &*self.inner;
            Box::new(Informer::<K>::start(client.all(), stop.clone(), Arc::clone(running)))
        });
        entry.downcast_ref::<Informer<K>>().expect("the map's key is the type's id").clone()
    }

    /// Ends all informers; their last state stays readable.
    pub fn stop(&self) {
        self.inner.stop.cancel();
    }
}
