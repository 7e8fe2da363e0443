//! Namespace: empties one that is being deleted, then lets it go. Wakes on the namespace.

mod remains;
mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, WorkQueue};
use k8s_openapi::api::core::v1::Namespace;

const WORKERS: usize = 2;

pub(crate) struct Controller {
    client: Client,
    namespaces: Informer<Namespace>,
}

pub(crate) async fn run(client: Client, informers: Informers) {
    let controller = Controller { client, namespaces: informers.get() };
    let queue = WorkQueue::new();
    tokio::join!(
        wiring::follow(controller.namespaces.clone(), queue.clone(), |namespace: &Namespace| vec![
            wiring::key(namespace)
        ]),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}
