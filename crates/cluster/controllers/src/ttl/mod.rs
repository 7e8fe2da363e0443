//! Jobs that say how long they are kept after they finished. Wakes on the job, and when its time is over.

mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, WorkQueue};
use k8s_openapi::api::batch::v1::Job;

const WORKERS: usize = 2;

pub(crate) struct Controller {
    client: Client,
    jobs: Informer<Job>,
}

pub(crate) async fn run(client: Client, informers: Informers) {
    let controller = Controller { client, jobs: informers.get() };
    let queue = WorkQueue::new();
    tokio::join!(
        wiring::follow(controller.jobs.clone(), queue.clone(), |job: &Job| vec![wiring::key(job)]),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}
