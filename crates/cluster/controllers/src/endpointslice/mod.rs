//! EndpointSlice and Endpoints: which pods answer for a service. Wakes on the service and on every pod that its
//! selector matches, before and after the change.

mod slices;
mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, WorkQueue};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
pub(crate) use slices::{MANAGER_LABEL, SERVICE_LABEL};
use std::sync::Arc;
pub(crate) use sync::converge;

const WORKERS: usize = 4;

pub(crate) struct Controller {
    client: Client,
    services: Informer<Service>,
    pods: Informer<Pod>,
    slices: Informer<EndpointSlice>,
}

pub(crate) async fn run(client: Client, informers: Informers) {
    let controller =
        Controller { client, services: informers.get(), pods: informers.get(), slices: informers.get() };
    let queue = WorkQueue::new();
    let services = controller.services.clone();
    let keys_of_pod = move |pod: &Pod| {
        let selecting = services.list_in(pod.metadata.namespace.as_deref().unwrap_or_default());
        selecting
            .iter()
            .filter(|service| sync::selects(service, pod))
            .map(|service| wiring::key(&**service))
            .collect()
    };
    controller.services.synced().await;
    controller.pods.synced().await;
    controller.slices.synced().await;
    tokio::join!(
        wiring::follow(controller.services.clone(), queue.clone(), |service: &Service| vec![wiring::key(
            service
        )]),
        wiring::follow(controller.pods.clone(), queue.clone(), keys_of_pod),
        wiring::follow(controller.slices.clone(), queue.clone(), |slice: &EndpointSlice| sync::service_of(
            slice
        )
        .into_iter()
        .collect()),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}

pub(super) type Pods = Vec<Arc<Pod>>;
