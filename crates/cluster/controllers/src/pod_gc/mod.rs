//! Pods that nobody else removes: those of nodes that are gone, those that end without ever having had a node, and of
//! those that have ended the oldest beyond a number. Looks at all pods every now and then.

mod sync;

use hako_client::{Client, Informer, Informers};
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How pods are removed that nobody else removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodGc {
    /// Pods that have ended and are kept; 0 keeps all.
    pub kept: usize,
    /// How often pods are looked at.
    pub period: Duration,
    /// For how long a node has to be gone until its pods are lost.
    pub quarantine: Duration,
}

impl PodGc {
    /// What applies unless something else is said.
    pub const DEFAULT: Self =
        Self { kept: 12_500, period: Duration::from_secs(20), quarantine: Duration::from_secs(40) };
}

pub(crate) struct Controller {
    client: Client,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    settings: PodGc,
    /// Nodes that pods are on and that are not there, since when.
    missing: Mutex<HashMap<String, Instant>>,
}

pub(crate) async fn run(client: Client, informers: Informers, settings: PodGc) {
    let controller = Controller {
        client,
        pods: informers.get(),
        nodes: informers.get(),
        settings,
        missing: Mutex::default(),
    };
    controller.pods.synced().await;
    controller.nodes.synced().await;
    let mut period = interval(settings.period);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        controller.sync().await;
    }
}
