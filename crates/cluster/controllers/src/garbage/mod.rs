//! Garbage collection by owner: what nobody owns any more goes; what is deleted in the foreground waits for what it
//! owns; what is deleted as an orphan lets go of it. Watches the metadata of every kind that discovery names, and
//! wakes on objects whose owners went or whose deletion waits.

mod graph;
mod reflect;
mod sync;

use crate::arrivals::Arrivals;
use graph::{Graph, Uid};
use hako_client::{Client, Recorder, WorkQueue};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const WORKERS: usize = 4;
/// Longer than this nothing waits for kinds that cannot be listed.
const FIRST_LISTS: Duration = Duration::from_secs(30);

pub(crate) struct Collector {
    client: Client,
    events: Recorder,
    graph: Mutex<Graph>,
    queue: WorkQueue<Uid>,
    /// All kinds are watched here: who only counts hears of it.
    arrivals: Arrivals,
    /// Whether every kind has been listed once.
    is_complete: watch::Sender<bool>,
}

pub(crate) async fn run(client: Client, events: Recorder, arrivals: Arrivals) {
    let collector = Arc::new(Collector {
        client,
        events,
        graph: Mutex::default(),
        queue: WorkQueue::new(),
        arrivals,
        is_complete: watch::channel(false).0,
    });
    tokio::join!(reflect::keep(Arc::clone(&collector)), work(&collector));
}

/// Half a graph lacks dependents: an orphaning would not free them, and they would go with their owner.
async fn work(collector: &Collector) {
    let mut is_complete = collector.is_complete.subscribe();
    let complete = is_complete.wait_for(|is| *is);
    if tokio::time::timeout(FIRST_LISTS, complete).await.is_err() {
        tracing::warn!("some kinds cannot be listed; garbage is collected among the others");
    }
    collector.queue.run(WORKERS, |uid: Uid| sync::sync(collector, uid)).await;
}
