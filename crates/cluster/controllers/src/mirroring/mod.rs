//! EndpointSlice mirroring: Endpoints that somebody keeps by hand are shown as slices, too. Wakes on the Endpoints, on
//! their service, and on slices of ours.

mod slices;
mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, WorkQueue};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

const WORKERS: usize = 2;

pub(crate) struct Controller {
    client: Client,
    endpoints: Informer<Endpoints>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
}

pub(crate) async fn run(client: Client, informers: Informers) {
    let controller =
        Controller { client, endpoints: informers.get(), services: informers.get(), slices: informers.get() };
    let queue = WorkQueue::new();
    controller.endpoints.synced().await;
    controller.services.synced().await;
    controller.slices.synced().await;
    tokio::join!(
        wiring::follow(controller.endpoints.clone(), queue.clone(), |one: &Endpoints| vec![wiring::key(one)]),
        wiring::follow(controller.services.clone(), queue.clone(), |one: &Service| vec![wiring::key(one)]),
        wiring::follow(controller.slices.clone(), queue.clone(), |slice: &EndpointSlice| slices::source_of(
            slice
        )
        .into_iter()
        .collect()),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}
