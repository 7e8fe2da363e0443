//! Tokens that were made for accounts of their own accord and kept in Secrets: those that nobody has used for long are
//! marked, and removed if nobody misses them for as long again. Looks at all of them every now and then.

mod sync;

use hako_client::{Client, Informer, Informers};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How tokens are removed that nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCleanUp {
    /// How often they are looked at.
    pub period: Duration,
    /// For how many days nobody has to use one until it is marked, and from then on until it is removed.
    pub days: u16,
}

impl TokenCleanUp {
    /// What applies unless something else is said.
    pub const DEFAULT: Self = Self { period: Duration::from_secs(24 * 60 * 60), days: 365 };
}

pub(crate) struct Controller {
    client: Client,
    secrets: Informer<Secret>,
    accounts: Informer<ServiceAccount>,
    pods: Informer<Pod>,
    configs: Informer<ConfigMap>,
    settings: TokenCleanUp,
}

pub(crate) async fn run(client: Client, informers: Informers, settings: TokenCleanUp) {
    let controller = Controller {
        client,
        secrets: informers.get(),
        accounts: informers.get(),
        pods: informers.get(),
        configs: informers.get(),
        settings,
    };
    controller.secrets.synced().await;
    controller.accounts.synced().await;
    controller.pods.synced().await;
    controller.configs.synced().await;
    let mut period = interval(settings.period);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        controller.sync().await;
    }
}
