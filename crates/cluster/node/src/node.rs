//! The node as a whole: which pods it has, and one worker for each.

use crate::context::{Clock, Context};
use crate::pod::{Granted, Input, Leftovers, Message, Shared, Worker, labels, remove_all};
use crate::register::{self, Registration};
use crate::server::Server;
use crate::volume::{self, PodDirs};
use crate::{NodeConfig, NodeHandle, PodReport};
use hako_client::{Change, Informer};
use hako_error::{Error, Kind, Result};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

const RETRY: Duration = Duration::from_secs(1);
/// What clean-up may take beyond the grace period when the node is taken down.
const CLEAN_UP: Duration = Duration::from_secs(20);

/// The node agent.
#[derive(Debug)]
pub struct Node;

/// A running node.
#[derive(Debug)]
pub(crate) struct Inner {
    context: Arc<Context>,
    pods: Arc<Pods>,
    address: SocketAddr,
    ready: watch::Receiver<bool>,
    stop: CancellationToken,
    shutdown: CancellationToken,
    empty: watch::Receiver<bool>,
}

/// The pods of the node, by uid.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    by_uid: Mutex<HashMap<String, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    shared: Shared,
    sender: mpsc::UnboundedSender<Message>,
}

impl Node {
    /// Registers the node, adopts what runs and keeps the pods bound to it running until the handle is dropped.
    ///
    /// # Errors
    /// When the server cannot listen, its certificates are no good or the machine cannot be described.
    pub async fn start(config: NodeConfig) -> Result<NodeHandle> {
        let capacity = register::capacity(&config)?;
        let context = Arc::new(Context::new(config, Clock::System, capacity));
        let stop = CancellationToken::new();
        let pods = Arc::<Pods>::default();
        let server = Server::bind(&context, Arc::clone(&pods))?;
        let address = server.address();
        tokio::spawn(server.run(stop.clone()));
        let registration = Registration::new(Arc::clone(&context), address.port());
        let (ready_sender, ready) = watch::channel(false);
        tokio::spawn(stop.clone().run_until_cancelled_owned(registration.run(ready_sender)));
        let inner = Inner::keep(context, pods, address, ready, stop);
        Ok(NodeHandle { inner: Arc::new(inner) })
    }
}

impl Inner {
    /// Starts to keep the node's pods.
    fn keep(
        context: Arc<Context>,
        pods: Arc<Pods>,
        address: SocketAddr,
        ready: watch::Receiver<bool>,
        stop: CancellationToken,
    ) -> Self {
        let (empty_sender, empty) = watch::channel(false);
        let shutdown = CancellationToken::new();
        let keeper = Keeper {
            context: Arc::clone(&context),
            pods: Arc::clone(&pods),
            workers: JoinSet::new(),
            uids: HashMap::new(),
            done: HashSet::new(),
            shutdown: shutdown.clone(),
            empty: empty_sender,
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(keeper.run()));
        Self { context, pods, address, ready, stop, shutdown, empty }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn ready(&self) {
        // An error means that the node was stopped, and nobody will say more.
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
    }

    pub(crate) fn pods(&self) -> Vec<PodReport> {
        let entries = self.pods.by_uid.lock();
        entries.values().map(|entry| entry.shared.report()).collect()
    }

    pub(crate) async fn teardown(&self, grace: Duration) -> Result<()> {
        self.shutdown.cancel();
        let deadline = self.context.clock.now().saturating_add(grace);
        let deadline = deadline.unwrap_or_else(|_| self.context.clock.now());
        self.pods.tell_all(&|| Message::Input(Input::Shutdown { deadline }));
        let mut empty = self.empty.clone();
        let waited = tokio::time::timeout(grace + CLEAN_UP, empty.wait_for(|empty| *empty)).await.is_ok();
        let left: Vec<String> =
            self.pods().into_iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
        self.stop.cancel();
        // What has no worker goes too: finished pods, and what an earlier process left.
        let swept = remove_all(self.context.config.engine.as_ref(), &labels::filter(None)).await;
        if waited {
            return swept;
        }
        let text = format!(
            "pods {} did not end within {:?}, they were removed by force",
            left.join(", "),
            grace + CLEAN_UP
        );
        swept.and(Err(Error::new(Kind::DeadlineExceeded, text)))
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}

impl Pods {
    /// The pod of that name.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Shared> {
        let entries = self.by_uid.lock();
        let mut found = entries.values().filter(|entry| {
            let pod = entry.shared.pod();
            let meta = &pod.metadata;
            meta.namespace.as_deref() == Some(namespace) && meta.name.as_deref() == Some(name)
        });
        // An earlier pod of the same name may still be on its way out.
        let first = found.next();
        let newest = found.fold(first, |best, entry| match &best {
            Some(known) if created(known) >= created(entry) => best,
            _ => Some(entry),
        });
        newest.map(|entry| entry.shared.clone())
    }

    /// All pods as the API has them.
    pub(crate) fn objects(&self) -> Vec<Arc<Pod>> {
        self.by_uid.lock().values().map(|entry| entry.shared.pod()).collect()
    }

    /// Whether the pod has a worker. One that is ending no longer listens, but when its end is seen the pod is looked
    /// at as it is then.
    fn tell(&self, uid: &str, message: Message) -> bool {
        let by_uid = self.by_uid.lock();
        let entry = by_uid.get(uid);
        if let Some(entry) = entry {
            let _ = entry.sender.send(message);
        }
        entry.is_some()
    }

    fn tell_all(&self, message: &dyn Fn() -> Message) {
        for entry in self.by_uid.lock().values() {
            let _ = entry.sender.send(message());
        }
    }

    /// Tells every pod of `namespace` whose names satisfy `uses`.
    fn tell_users(&self, namespace: &str, uses: impl Fn(&Pod) -> bool) {
        for entry in self.by_uid.lock().values() {
            let pod = entry.shared.pod();
            if pod.metadata.namespace.as_deref() == Some(namespace) && uses(&pod) {
                let _ = entry.sender.send(Message::Objects);
            }
        }
    }
}

/// Whether its containers ended for good, and nobody asks for its end.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed")) && pod.metadata.deletion_timestamp.is_none()
}

fn created(entry: &Entry) -> Option<jiff::Timestamp> {
    entry.shared.pod().metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// Keeps one worker for each pod of the node.
struct Keeper {
    context: Arc<Context>,
    pods: Arc<Pods>,
    workers: JoinSet<()>,
    uids: HashMap<Id, Arc<Pod>>,
    /// Pods that were ended and whose deletion is still to be seen: older changes of them ask for nothing.
    done: HashSet<String>,
    shutdown: CancellationToken,
    empty: watch::Sender<bool>,
}

impl Keeper {
    async fn run(mut self) {
        let informers = self.context.config.informers.clone();
        let pods: Informer<Pod> = informers.get();
        let (maps, secrets) = (informers.get::<ConfigMap>(), informers.get::<Secret>());
        let mut changes = pods.changes();
        let (mut map_changes, mut secret_changes) = (maps.changes(), secrets.changes());
        let mut is_first = true;
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Change::Resync) => {
                        self.resync(&pods, std::mem::take(&mut is_first)).await;
                    }
                    Some(Change::Applied { old, new }) => self.applied(old.as_deref(), new, &pods),
                    Some(Change::Deleted(pod)) => self.gone(&pod),
                    None => return,
                },
                Some(change) = map_changes.next() => self.object_changed(change, uses_config_map),
                Some(change) = secret_changes.next() => self.object_changed(change, uses_secret),
                Some(ended) = self.workers.join_next_with_id() => self.ended(ended, &pods).await,
                () = self.shutdown.cancelled(), if self.workers.is_empty() => {
                    self.empty.send_replace(true);
                    return;
                }
            }
        }
    }

    fn is_ours(&self, pod: &Pod) -> bool {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        node == Some(self.context.config.node_name.as_str())
    }

    /// Looks at everything: after the start, and when changes were missed.
    async fn resync(&mut self, pods: &Informer<Pod>, is_first: bool) {
        let ours: Vec<Arc<Pod>> = pods.list().into_iter().filter(|pod| self.is_ours(pod)).collect();
        let uids: BTreeSet<&str> = ours.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
        let gone: Vec<String> =
            self.pods.by_uid.lock().keys().filter(|uid| !uids.contains(uid.as_str())).cloned().collect();
        for uid in gone {
            self.pods.tell(&uid, Message::Input(Input::Gone));
        }
        if is_first {
            let mut left = self.leftovers().await;
            // All of them before the first asks for more.
            for pod in ours.iter().filter(|pod| !is_over(pod)) {
                self.context.room.hold(pod, Granted::new());
            }
            for pod in &ours {
                let left = pod.metadata.uid.as_ref().and_then(|uid| left.remove(uid));
                self.begin(Arc::clone(pod), &left.unwrap_or_default());
            }
            self.remove_orphans(left, &uids).await;
            return;
        }
        self.done.clear();
        for pod in ours {
            self.applied(None, pod, pods);
        }
    }

    /// What the engine has of pods, by uid. Without an answer nothing could be adopted, so it is asked until it gives one.
    async fn leftovers(&self) -> HashMap<String, Leftovers> {
        let engine = &self.context.config.engine;
        let filter = labels::filter(None);
        loop {
            let found = async {
                Ok::<_, Error>((engine.sandboxes(&filter).await?, engine.containers(&filter).await?))
            };
            match found.await {
                Ok((sandboxes, containers)) => {
                    let mut out: HashMap<String, Leftovers> = HashMap::new();
                    for sandbox in sandboxes {
                        let uid = sandbox.spec.labels[labels::POD_UID].clone();
                        out.entry(uid).or_default().sandboxes.push(sandbox);
                    }
                    for container in containers {
                        let uid = container.spec.labels[labels::POD_UID].clone();
                        out.entry(uid).or_default().containers.push(container);
                    }
                    return out;
                }
                Err(error) => {
                    tracing::error!(error = %error.chain(), "engine does not list its sandboxes, asking again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// What belongs to no pod of the API any more.
    async fn remove_orphans(&self, left: HashMap<String, Leftovers>, known: &BTreeSet<&str>) {
        let engine = &self.context.config.engine;
        for (uid, left) in left {
            tracing::info!(uid, "removing what is left of a pod that is gone");
            for sandbox in left.sandboxes {
                if let Err(error) = engine.remove_sandbox(&sandbox.id).await {
                    tracing::warn!(uid, error = %error.chain(), "sandbox of a pod that is gone not removed");
                }
            }
        }
        let config = &self.context.config;
        let on_disk = volume::pods_on_disk(&config.run_dir, &config.data_dir);
        for uid in on_disk.iter().filter(|uid| !known.contains(uid.as_str())) {
            if let Err(error) = PodDirs::new(&config.run_dir, &config.data_dir, uid).remove() {
                tracing::warn!(uid, %error, "volumes of a pod that is gone not removed");
            }
        }
    }

    fn applied(&mut self, old: Option<&Pod>, pod: Arc<Pod>, pods: &Informer<Pod>) {
        if let Some(old) = old.filter(|old| old.metadata.uid != pod.metadata.uid) {
            self.gone(old);
        }
        if !self.is_ours(&pod) {
            return;
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if self.pods.tell(&uid, Message::Input(Input::Pod(Arc::clone(&pod)))) {
            return;
        }
        let is_past = pod.metadata.deletion_timestamp.is_some()
            && (self.done.contains(&uid) || present(pods, &pod).is_none());
        if !is_past {
            self.begin(pod, &Leftovers::default());
        }
    }

    fn gone(&mut self, pod: &Pod) {
        if let Some(uid) = pod.metadata.uid.as_deref() {
            self.done.remove(uid);
            self.pods.tell(uid, Message::Input(Input::Gone));
        }
    }

    /// Starts the worker of a pod. One that is over and has nothing here needs none until it is deleted.
    fn begin(&mut self, pod: Arc<Pod>, left: &Leftovers) {
        let has_nothing = left.sandboxes.is_empty() && left.containers.is_empty();
        if self.shutdown.is_cancelled() || (is_over(&pod) && has_nothing) {
            return;
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let (worker, shared, sender) = Worker::new(Arc::clone(&self.context), Arc::clone(&pod), left);
        self.pods.by_uid.lock().insert(uid, Entry { shared, sender });
        let task = self.workers.spawn(worker.run());
        self.uids.insert(task.id(), pod);
    }

    /// A worker that ended on its own account is done; one that panicked is begun anew from what is there.
    async fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>, pods: &Informer<Pod>) {
        let (id, panicked) = match &ended {
            Ok((id, ())) => (*id, None),
            Err(error) => (error.id(), Some(error.to_string())),
        };
        let Some(pod) = self.uids.remove(&id) else { return };
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        self.pods.by_uid.lock().remove(&uid);
        match (panicked, present(pods, &pod)) {
            (Some(why), now) => {
                tracing::error!(uid, why, "worker of a pod ended unexpectedly, beginning anew");
                tokio::time::sleep(RETRY).await;
                let left = self.leftovers().await.remove(&uid).unwrap_or_default();
                self.begin(now.unwrap_or(pod), &left);
            }
            // Its last change came while the worker ended.
            (None, Some(now)) if now.metadata.deletion_timestamp.is_none() => {
                self.begin(now, &Leftovers::default());
            }
            // Its object is kept by finalizers, or its deletion is on the way here.
            (None, Some(_)) => drop(self.done.insert(uid)),
            (None, None) => {}
        }
    }

    fn object_changed<K>(&self, change: Change<K>, uses: fn(&Pod, &str) -> bool)
    where
        K: hako_client::Object,
    {
        let object = match change {
            Change::Applied { old, new } => {
                let is_same =
                    |old: &Arc<K>| old.metadata().resource_version == new.metadata().resource_version;
                if old.as_ref().is_some_and(is_same) {
                    return;
                }
                new
            }
            Change::Deleted(object) => object,
            Change::Resync => return,
        };
        let meta = object.metadata();
        let name = meta.name.as_deref().unwrap_or_default();
        self.pods.tell_users(meta.namespace.as_deref().unwrap_or_default(), |pod| uses(pod, name));
    }
}

/// The pod as it is now, unless it is gone or another has its name.
fn present(pods: &Informer<Pod>, pod: &Pod) -> Option<Arc<Pod>> {
    let meta = &pod.metadata;
    let now = pods.get(meta.namespace.as_deref().unwrap_or(""), meta.name.as_deref().unwrap_or(""))?;
    Some(now).filter(|now| now.metadata.uid == meta.uid)
}

fn uses_config_map(pod: &Pod, name: &str) -> bool {
    references(pod, |names| &names.config_maps, name)
}

fn uses_secret(pod: &Pod, name: &str) -> bool {
    references(pod, |names| &names.secrets, name)
}

fn references(pod: &Pod, list: fn(&crate::env::References) -> &BTreeSet<String>, name: &str) -> bool {
    let volumes = volume::references(volume::volumes_of(pod));
    let spec = pod.spec.as_ref();
    let containers =
        spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    list(&volumes).contains(name)
        || containers.into_iter().any(|container| list(&crate::env::references(container)).contains(name))
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
