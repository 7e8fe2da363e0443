//! Claims and volumes that are being deleted stay until nothing uses them. Wakes on both and on the pods of a claim.

mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};

const WORKERS: usize = 1;

pub(crate) struct Controller {
    client: Client,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    pods: Informer<Pod>,
}

pub(crate) async fn run(client: Client, informers: Informers) {
    let controller =
        Controller { client, claims: informers.get(), volumes: informers.get(), pods: informers.get() };
    let queue = WorkQueue::new();
    controller.pods.synced().await;
    tokio::join!(
        wiring::follow(controller.claims.clone(), queue.clone(), |claim: &PersistentVolumeClaim| vec![
            wiring::key(claim)
        ]),
        wiring::follow(controller.volumes.clone(), queue.clone(), |volume: &PersistentVolume| vec![
            wiring::key(volume)
        ]),
        wiring::follow(controller.pods.clone(), queue.clone(), |pod: &Pod| {
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            sync::claims_of(pod).into_iter().map(|claim| (namespace.clone(), claim)).collect()
        }),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}
