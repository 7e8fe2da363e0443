//! Deployment: ReplicaSets of templates, rolled from one to the next. Wakes on the deployment and on ReplicaSets it
//! controls or could adopt.

mod history;
mod rolling;
mod status;
mod sync;
mod template;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, Recorder, WorkQueue};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

const WORKERS: usize = 4;

pub(crate) struct Controller {
    client: Client,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    events: Recorder,
}

pub(crate) async fn run(client: Client, informers: Informers, events: Recorder) {
    let controller = Controller {
        client,
        deployments: informers.get(),
        sets: informers.get(),
        pods: informers.get(),
        events,
    };
    let queue = WorkQueue::new();
    let deployments = controller.deployments.clone();
    let keys_of_set = move |set: &ReplicaSet| match wiring::controller_key(set, "Deployment") {
        Some(key) => vec![key],
        None if wiring::is_orphan(set) => deployments
            .list_in(set.metadata.namespace.as_deref().unwrap_or_default())
            .iter()
            .filter(|deployment| sync::selects(deployment, set))
            .map(|deployment| wiring::key(&**deployment))
            .collect(),
        None => Vec::new(),
    };
    // `Recreate` waits for the last pod of the old template to be gone.
    let sets = controller.sets.clone();
    let keys_of_pod = move |pod: &Pod| {
        let set = wiring::controller_key(pod, "ReplicaSet")
            .and_then(|(namespace, name)| sets.get(&namespace, &name));
        set.and_then(|set| wiring::controller_key(&*set, "Deployment")).into_iter().collect()
    };
    controller.sets.synced().await;
    controller.deployments.synced().await;
    tokio::join!(
        wiring::follow(controller.deployments.clone(), queue.clone(), |deployment| vec![wiring::key(
            deployment
        )]),
        wiring::follow(controller.sets.clone(), queue.clone(), keys_of_set),
        wiring::follow(controller.pods.clone(), queue.clone(), keys_of_pod),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}
