//! Node lifecycle: a node that stops renewing its lease is marked, tainted, and its pods are evicted when their
//! tolerations are over. Wakes on nodes, leases and pods, and by itself when a lease is due.

mod sync;

use crate::wiring::{self, Key};
use hako_client::{Client, Informer, Informers, Recorder, WorkQueue};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Instant;

const WORKERS: usize = 2;
const LEASES: &str = "kube-node-lease";

pub(crate) struct Controller {
    client: Client,
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods: Informer<Pod>,
    events: Recorder,
    /// When a renewal was first seen here: clocks of nodes are not compared with ours.
    seen: Mutex<HashMap<String, (String, Instant)>>,
    /// Since when a node is not Ready, as this process saw it.
    troubled: Mutex<HashMap<String, Instant>>,
}

pub(crate) async fn run(client: Client, informers: Informers, events: Recorder) {
    let controller = Controller {
        client,
        nodes: informers.get(),
        leases: informers.get(),
        pods: informers.get(),
        events,
        seen: Mutex::default(),
        troubled: Mutex::default(),
    };
    let queue = WorkQueue::new();
    let node_key = |name: Option<&String>| {
        name.map(|name| (String::new(), name.clone())).into_iter().collect::<Vec<_>>()
    };
    controller.leases.synced().await;
    tokio::join!(
        wiring::follow(controller.nodes.clone(), queue.clone(), |node: &Node| vec![wiring::key(node)]),
        wiring::follow(controller.leases.clone(), queue.clone(), |lease: &Lease| {
            if lease.metadata.namespace.as_deref() == Some(LEASES) {
                node_key(lease.metadata.name.as_ref())
            } else {
                Vec::new()
            }
        }),
        queue.run(WORKERS, |key: Key| controller.sync(key)),
    );
}
