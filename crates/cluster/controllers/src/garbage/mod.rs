//! Garbage collection by owner: what nobody owns any more goes; what is deleted in the foreground waits for what it
//! owns; what is deleted as an orphan lets go of it. Watches the metadata of every kind that discovery names, and
//! wakes on objects whose owners went or whose deletion waits.

mod graph;
mod reflect;
mod sync;

use graph::{Graph, Uid};
use hako_client::{Client, WorkQueue};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const WORKERS: usize = 4;
/// The list of kinds is read until it can be.
const DISCOVERY_RETRY: Duration = Duration::from_millis(200);

pub(crate) struct Collector {
    client: Client,
    graph: Mutex<Graph>,
    queue: WorkQueue<Uid>,
}

pub(crate) async fn run(client: Client) {
    let collector = Arc::new(Collector { client, graph: Mutex::default(), queue: WorkQueue::new() });
    let resources = loop {
        match reflect::resources(&collector.client).await {
            Ok(resources) => break resources,
            Err(error) => {
                tracing::debug!(error = %error.chain(), "discovery failed, trying again");
                tokio::time::sleep(DISCOVERY_RETRY).await;
            }
        }
    };
    let mut reflectors = JoinSet::new();
    for resource in resources {
        reflectors.spawn(reflect::reflect(Arc::clone(&collector), resource));
    }
    collector.queue.run(WORKERS, |uid: Uid| sync::sync(&collector, uid)).await;
}
