//! ClusterRole aggregation: the rules of a role are those of the roles that it selects. Wakes on the role and on every
//! role that some role selects.

mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, WorkQueue};
use k8s_openapi::api::rbac::v1::ClusterRole;

pub(crate) struct Controller {
    client: Client,
    roles: Informer<ClusterRole>,
}

pub(crate) async fn run(client: Client, informers: Informers) {
    let controller = Controller { client, roles: informers.get() };
    let queue = WorkQueue::new();
    let roles = controller.roles.clone();
    // Roles are few: each change has all looked at that aggregate.
    let aggregating = move |_: &ClusterRole| {
        let all = roles.list();
        all.iter().filter(|role| role.aggregation_rule.is_some()).map(|role| wiring::key(&**role)).collect()
    };
    controller.roles.synced().await;
    tokio::join!(
        wiring::follow(controller.roles.clone(), queue.clone(), aggregating),
        queue.run(1, |key: Key| controller.sync(key)),
    );
}
