//! ReplicaSet and ReplicationController: as many pods as asked for. Wakes on the set and on pods it controls or could
//! adopt. Either kind is a [`Replicator`]; all else is the same.

mod expectations;
mod replicator;
mod sync;

use crate::wiring::{self, Key};
use expectations::Expectations;
use hako_client::{Client, Informer, Informers, Recorder, WorkQueue};
use k8s_openapi::api::core::v1::Pod;
use replicator::Replicator;

const WORKERS: usize = 8;

pub(crate) struct Controller<S> {
    client: Client,
    sets: Informer<S>,
    pods: Informer<Pod>,
    events: Recorder,
    /// Pods made and deleted that the cache does not show yet.
    expectations: Expectations,
}

pub(crate) async fn run<S: Replicator>(client: Client, informers: Informers, events: Recorder) {
    let controller: Controller<S> = Controller {
        client,
        sets: informers.get(),
        pods: informers.get(),
        events,
        expectations: Expectations::default(),
    };
    let queue = WorkQueue::new();
    let sets = controller.sets.clone();
    // An orphan may be what some set of its namespace looks for.
    let keys_of_pod = move |pod: &Pod| match wiring::controller_key(pod, S::KIND) {
        Some(key) => vec![key],
        None if wiring::is_orphan(pod) => sets
            .list_in(pod.metadata.namespace.as_deref().unwrap_or_default())
            .iter()
            .filter(|set| sync::selects(&***set, pod))
            .map(|set| wiring::key(&**set))
            .collect(),
        None => Vec::new(),
    };
    // Both caches first: on half a picture a set would be given pods it has.
    controller.sets.synced().await;
    controller.pods.synced().await;
    tokio::join!(
        wiring::follow(controller.sets.clone(), queue.clone(), |set: &S| vec![wiring::key(set)]),
        wiring::follow(controller.pods.clone(), queue.clone(), keys_of_pod),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}
