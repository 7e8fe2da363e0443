//! PodDisruptionBudgets: how many pods there are, how many there have to be, and so how many may be evicted now. Wakes on
//! the budget, on pods of its namespace, on the scale of what makes them, and when an eviction should have come to pass.

mod count;
mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, Object, Recorder, WorkQueue};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

const WORKERS: usize = 2;

pub(crate) struct Controller {
    client: Client,
    recorder: Recorder,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<Pod>,
    makers: Makers,
}

/// What makes pods and says how many there are to be.
pub(crate) struct Makers {
    deployments: Informer<Deployment>,
    replica_sets: Informer<ReplicaSet>,
    stateful_sets: Informer<StatefulSet>,
    controllers: Informer<ReplicationController>,
}

pub(crate) async fn run(client: Client, informers: Informers, recorder: Recorder) {
    let makers = Makers {
        deployments: informers.get(),
        replica_sets: informers.get(),
        stateful_sets: informers.get(),
        controllers: informers.get(),
    };
    let controller = Controller { client, recorder, budgets: informers.get(), pods: informers.get(), makers };
    let queue = WorkQueue::new();
    let of_namespace = |namespace: Option<&str>| -> Vec<Key> {
        let budgets = controller.budgets.list_in(namespace.unwrap_or_default());
        budgets.iter().map(|budget| wiring::key(&**budget)).collect()
    };
    controller.pods.synced().await;
    let makers = &controller.makers;
    makers.deployments.synced().await;
    makers.replica_sets.synced().await;
    makers.stateful_sets.synced().await;
    makers.controllers.synced().await;
    tokio::join!(
        wiring::follow(controller.budgets.clone(), queue.clone(), |budget: &PodDisruptionBudget| {
            vec![wiring::key(budget)]
        }),
        wiring::follow(controller.pods.clone(), queue.clone(), |pod: &Pod| {
            let budgets = controller.budgets.list_in(pod.metadata.namespace.as_deref().unwrap_or_default());
            let mut keys = Vec::new();
            keys.extend(
                budgets.iter().filter(|budget| count::selects(budget, pod)).map(|it| wiring::key(&**it)),
            );
            keys
        }),
        wiring::follow(makers.deployments.clone(), queue.clone(), |it: &Deployment| of_namespace(place(it))),
        wiring::follow(makers.replica_sets.clone(), queue.clone(), |it: &ReplicaSet| of_namespace(place(it))),
        wiring::follow(makers.stateful_sets.clone(), queue.clone(), |it: &StatefulSet| of_namespace(place(
            it
        ))),
        wiring::follow(makers.controllers.clone(), queue.clone(), |it: &ReplicationController| {
            of_namespace(place(it))
        }),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}

fn place<K: Object>(object: &K) -> Option<&str> {
    object.metadata().namespace.as_deref()
}
