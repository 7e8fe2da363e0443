//! Ranges of service addresses are ready, and stay until no service has an address that is of no other range. Wakes on the
//! ranges; one that is to go is looked at until it may.

mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, WorkQueue};
use k8s_openapi::api::networking::v1::ServiceCIDR;

const WORKERS: usize = 1;

pub(crate) struct Controller {
    client: Client,
    cidrs: Informer<ServiceCIDR>,
}

pub(crate) async fn run(client: Client, informers: Informers) {
    let controller = Controller { client, cidrs: informers.get() };
    let queue = WorkQueue::new();
    controller.cidrs.synced().await;
    tokio::join!(
        // One that comes or goes decides about those that overlap it.
        wiring::follow(controller.cidrs.clone(), queue.clone(), |_: &ServiceCIDR| {
            controller.cidrs.list().iter().map(|cidr| wiring::key(&**cidr)).collect()
        }),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}
