//! Secrets of type `kubernetes.io/service-account-token`: filled with a token of the account that they name, and
//! removed with it. Wakes on the secret, and on the account for all of its secrets.

mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, WorkQueue};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
pub(crate) use sync::account_of;

const WORKERS: usize = 2;

pub(crate) struct Controller {
    client: Client,
    secrets: Informer<Secret>,
    accounts: Informer<ServiceAccount>,
    ca_pem: String,
}

pub(crate) async fn run(client: Client, informers: Informers, ca_pem: String) {
    let controller = Controller { client, secrets: informers.get(), accounts: informers.get(), ca_pem };
    let queue = WorkQueue::new();
    let secrets = controller.secrets.clone();
    let keys_of_account = move |account: &ServiceAccount| {
        let of_account = |secret: &Secret| sync::account_of(secret) == account.metadata.name.as_deref();
        let all = secrets.list_in(account.metadata.namespace.as_deref().unwrap_or_default());
        all.iter().filter(|secret| of_account(secret)).map(|secret| wiring::key(&**secret)).collect()
    };
    controller.secrets.synced().await;
    controller.accounts.synced().await;
    tokio::join!(
        wiring::follow(controller.secrets.clone(), queue.clone(), |secret: &Secret| {
            sync::account_of(secret).map(|_| wiring::key(secret)).into_iter().collect()
        }),
        wiring::follow(controller.accounts.clone(), queue.clone(), keys_of_account),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}
