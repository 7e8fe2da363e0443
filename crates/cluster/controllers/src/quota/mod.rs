//! ResourceQuota: what is used of it, in its status. Wakes on the quota and on every object that could count: pods,
//! claims and services whenever they change, all others when they come or go.

mod sync;

use crate::arrivals::Arrivals;
use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, Object, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::time::Instant;

const WORKERS: usize = 2;

pub(crate) struct Controller {
    client: Client,
    quotas: Informer<ResourceQuota>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    services: Informer<Service>,
    /// Quotas that say more than is seen, at which version and since when.
    surplus: Mutex<HashMap<Key, (String, Instant)>>,
}

pub(crate) async fn run(client: Client, informers: Informers, arrivals: Arrivals) {
    let controller = Controller {
        client,
        quotas: informers.get(),
        pods: informers.get(),
        claims: informers.get(),
        services: informers.get(),
        surplus: Mutex::default(),
    };
    let queue = WorkQueue::new();
    controller.pods.synced().await;
    controller.claims.synced().await;
    controller.services.synced().await;
    tokio::join!(
        wiring::follow(controller.quotas.clone(), queue.clone(), |quota: &ResourceQuota| vec![wiring::key(
            quota
        )]),
        wake(&controller.quotas, controller.pods.clone(), &queue),
        wake(&controller.quotas, controller.claims.clone(), &queue),
        wake(&controller.quotas, controller.services.clone(), &queue),
        wake_on_arrivals(&controller.quotas, arrivals, &queue),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}

/// Wakes the quotas of an object's namespace whenever the object changes.
async fn wake<K: Object>(quotas: &Informer<ResourceQuota>, objects: Informer<K>, queue: &WorkQueue<Key>) {
    let keys = |object: &K| keys_in(quotas, object.metadata().namespace.as_deref().unwrap_or_default());
    wiring::follow(objects, queue.clone(), keys).await;
}

async fn wake_on_arrivals(quotas: &Informer<ResourceQuota>, arrivals: Arrivals, queue: &WorkQueue<Key>) {
    let mut arrivals = arrivals.subscribe();
    while let Some(arrival) = arrivals.next().await {
        let keys = match arrival {
            Some((resource, namespace)) if sync::counts(quotas, &namespace, &resource) => {
                keys_in(quotas, &namespace)
            }
            Some(_) => Vec::new(),
            None => quotas.list().iter().map(|quota| wiring::key(&**quota)).collect(),
        };
        keys.into_iter().for_each(|key| queue.add(key));
    }
}

fn keys_in(quotas: &Informer<ResourceQuota>, namespace: &str) -> Vec<Key> {
    quotas.list_in(namespace).iter().map(|quota| wiring::key(&**quota)).collect()
}
