//! ServiceAccount `default` and ConfigMap `kube-root-ca.crt` in every namespace. Wakes on the namespace and on the
//! loss of either.

mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, WorkQueue};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};

const WORKERS: usize = 2;

pub(crate) struct Controller {
    client: Client,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
    configs: Informer<ConfigMap>,
    ca_pem: String,
}

pub(crate) async fn run(client: Client, informers: Informers, ca_pem: String) {
    let controller = Controller {
        client,
        namespaces: informers.get(),
        accounts: informers.get(),
        configs: informers.get(),
        ca_pem,
    };
    let queue = WorkQueue::new();
    let namespace_key =
        |namespace: Option<&String>| vec![(String::new(), namespace.cloned().unwrap_or_default())];
    controller.accounts.synced().await;
    controller.configs.synced().await;
    tokio::join!(
        wiring::follow(controller.namespaces.clone(), queue.clone(), |namespace: &Namespace| vec![
            wiring::key(namespace)
        ]),
        wiring::follow(controller.accounts.clone(), queue.clone(), |account: &ServiceAccount| {
            if account.metadata.name.as_deref() == Some(sync::ACCOUNT) {
                namespace_key(account.metadata.namespace.as_ref())
            } else {
                Vec::new()
            }
        }),
        wiring::follow(controller.configs.clone(), queue.clone(), |config: &ConfigMap| {
            if config.metadata.name.as_deref() == Some(sync::ROOT_CA) {
                namespace_key(config.metadata.namespace.as_ref())
            } else {
                Vec::new()
            }
        }),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}
