//! The loop: next pod, decide, assume, bind. Decisions are made one after the other, binds run side by side.

use std::sync::Arc;

use hako_client::{Client, EventType, Informer, Informers, Recorder, reference_to};
use hako_error::{Error, Kind};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::cache::Cache;
use crate::choose::{Turn, choose};
use crate::message::Refusals;
use crate::pod_info::PodInfo;
use crate::preempt;
use crate::queue::Queue;

/// Calls to the API under way at once.
const CALLS: usize = 128;

/// What the scheduler works on.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// Writes bindings, conditions and events.
    pub client: Client,
    /// Reads pods, nodes and the labels of namespaces.
    pub informers: Informers,
    /// Pods that name this scheduler are its own; those that name none belong to `default-scheduler`.
    pub name: String,
}

impl SchedulerConfig {
    /// The default scheduler.
    #[must_use]
    pub fn new(client: Client, informers: Informers) -> Self {
        Self { client, informers, name: "default-scheduler".into() }
    }
}

/// A running scheduler; ends when this is dropped.
#[derive(Debug)]
pub struct Handle {
    task: JoinHandle<()>,
}

impl Handle {
    /// Ends it. Binds under way may still happen; whoever comes next sees them.
    pub fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What following changes and deciding have in common.
pub struct Shared {
    pub name: String,
    pub cache: Mutex<Cache>,
    pub queue: Queue,
    pub pods: Informer<Pod>,
    pub nodes: Informer<Node>,
    pub namespaces: Informer<Namespace>,
    /// Calls to the API take one of these.
    pub calls: Arc<Semaphore>,
    pub client: Client,
    pub recorder: Recorder,
}

/// Starts scheduling. Call it within a Tokio runtime.
#[must_use]
pub fn start(config: SchedulerConfig) -> Handle {
    let recorder = Recorder::new(config.client.clone(), &config.name, None);
    let shared = Arc::new(Shared {
        name: config.name,
        cache: Mutex::default(),
        queue: Queue::default(),
        pods: config.informers.get(),
        nodes: config.informers.get(),
        namespaces: config.informers.get(),
        calls: Arc::new(Semaphore::new(CALLS)),
        client: config.client,
        recorder,
    });
    Handle { task: tokio::spawn(run(shared)) }
}

/// Decides only once it knows everything: else pods that it does not know yet would lose their room.
async fn run(shared: Arc<Shared>) {
    let (mut nodes, mut pods) = (shared.nodes.changes(), shared.pods.changes());
    let mut namespaces = shared.namespaces.changes();
    let (Some(node), Some(pod), Some(namespace)) =
        (nodes.next().await, pods.next().await, namespaces.next().await)
    else {
        return;
    };
    shared.node_changed(node);
    shared.namespace_changed(namespace);
    shared.pod_changed(pod);
    let follow_nodes = async {
        while let Some(change) = nodes.next().await {
            shared.node_changed(change);
        }
    };
    let follow_namespaces = async {
        while let Some(change) = namespaces.next().await {
            shared.namespace_changed(change);
        }
    };
    let follow_pods = async {
        while let Some(change) = pods.next().await {
            shared.pod_changed(change);
        }
    };
    tokio::join!(follow_nodes, follow_namespaces, follow_pods, decide(&shared));
}

async fn decide(shared: &Arc<Shared>) {
    let mut turn = Turn::default();
    loop {
        // First the permit: what waits for one is then still in its order.
        let Ok(permit) = Arc::clone(&shared.calls).acquire_owned().await else {
            return;
        };
        let pod = shared.queue.next().await;
        let choice = {
            let mut cache = shared.cache.lock();
            let choice = choose(&pod, &cache, &mut turn);
            match &choice {
                Ok(node) => cache.assume(node, Arc::clone(&pod)),
                Err(_) => make_room(shared, &pod, &mut cache),
            }
            choice
        };
        let shared = Arc::clone(shared);
        match choice {
            Ok(node) => drop(tokio::spawn(bind(shared, pod, node, permit))),
            Err(refusals) => refuse(&shared, &pod, &refusals, permit),
        }
        // Thousands of waiting pods must not keep the runtime's other tasks from their turn.
        tokio::task::consume_budget().await;
    }
}

/// If pods of lower priority can make room, they are asked to, and the room waits for the pod.
fn make_room(shared: &Arc<Shared>, pod: &Arc<PodInfo>, cache: &mut Cache) {
    if preempt::is_under_way(pod, cache) {
        return;
    }
    let was_nominated = cache.nominations.remove(&pod.key);
    if let Some(preemption) = preempt::find(pod, cache) {
        let victims = preemption.victims.iter().map(|victim| victim.uid.clone()).collect();
        cache.nominations.set(&preemption.node, Arc::clone(pod), victims);
        tokio::spawn(preempt::carry_out(Arc::clone(shared), Arc::clone(pod), preemption));
    } else if was_nominated {
        let (shared, pod) = (Arc::clone(shared), Arc::clone(pod));
        tokio::spawn(async move {
            if let Err(error) = preempt::nominate(&shared, &pod, None).await {
                tracing::debug!(pod = ?pod.key, error = %error.chain(), "nomination not taken back");
            }
        });
    }
}

async fn bind(shared: Arc<Shared>, pod: Arc<PodInfo>, node: String, _permit: OwnedSemaphorePermit) {
    let (namespace, name) = &pod.key;
    let api = shared.client.namespaced::<Pod>(namespace);
    match api.bind(name, Some(&pod.uid), &node).await {
        Ok(()) => {
            shared.queue.remove(&pod.key);
            let message = format!("Successfully assigned {namespace}/{name} to {node}");
            shared.recorder.normal(&*pod.pod, "Scheduled", &message);
        }
        Err(error) => bind_failed(&shared, &pod, &node, &error),
    }
}

fn bind_failed(shared: &Shared, pod: &PodInfo, node: &str, error: &Error) {
    let (namespace, name) = &pod.key;
    shared.cache.lock().forget(pod);
    if error.kind() == Kind::NotFound {
        // The pod was deleted meanwhile; of a node that went away the watch tells.
        tracing::debug!(pod = %format!("{namespace}/{name}"), node, "the pod to bind is gone");
        if shared.pods.get(namespace, name).is_none() {
            shared.queue.remove(&pod.key);
        }
    } else {
        tracing::warn!(pod = %format!("{namespace}/{name}"), node, error = %error.chain(), "bind refused, trying again");
        let message = format!("binding rejected: {error}");
        let reference = reference_to(&*pod.pod);
        shared.recorder.event(&reference, EventType::Warning, "FailedScheduling", &message);
    }
    shared.queue.failed(pod, false);
    shared.queue.retry_unschedulable();
}

/// No node can take it: says so on the pod, once per reason, and waits for a change.
fn refuse(shared: &Arc<Shared>, pod: &Arc<PodInfo>, refusals: &Refusals, permit: OwnedSemaphorePermit) {
    let message = refusals.message();
    shared.queue.failed(pod, true);
    let reference = reference_to(&*pod.pod);
    shared.recorder.event(&reference, EventType::Warning, "FailedScheduling", &message);
    shared.tell_unschedulable(&pod.pod, &message, permit);
}
