//! Who follows: informers of ours, a watch of ours by hand, and watchers of the crate `kube`.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use hako_client::{Api, Change, Client, Informers, ListParams, WatchEvent, is_expired};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{self, Event, watcher};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::bed::{Bed, counted};
use super::told::{Objects, Told};

const LABEL: &str = "counts";
const INFORMER: &str = "an informer";
const AGAIN: Duration = Duration::from_millis(50);

/// Somebody who follows, and what they were told.
pub struct Follower {
    pub name: &'static str,
    pub told: Arc<Mutex<Told>>,
    /// Whether one can see when they begin anew.
    pub tells_of_lists: bool,
    task: JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Follower {
    fn start<F>(name: &'static str, follow: impl FnOnce(Arc<Mutex<Told>>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let told = Arc::new(Mutex::new(Told::default()));
        let task = tokio::spawn(follow(Arc::clone(&told)));
        Self { name, told, tells_of_lists: name != INFORMER, task }
    }
}

/// Everybody, through the way that is cut.
pub async fn follow_all(bed: &Bed) -> Vec<Follower> {
    let client = || Client::from_kubeconfig(&bed.through()).unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(bed.through()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let kube = || kube::Api::default_namespaced(kube::Client::try_from(config.clone()).unwrap());
    let paged = watcher::Config::default().labels(LABEL).page_size(3);
    let streaming = watcher::Config::default().labels(LABEL).streaming_lists();
    vec![
        Follower::start("a watch by hand", |told| by_hand(client().namespaced("default"), told)),
        Follower::start(INFORMER, |told| informed(client(), told)),
        Follower::start("a watcher of kube", |told| watched(kube(), paged, told)),
        Follower::start("a watcher of kube with streamed lists", |told| watched(kube(), streaming, told)),
    ]
}

/// Lists, watches from there, and goes on where a watch ended.
async fn by_hand(api: Api<ConfigMap>, told: Arc<Mutex<Told>>) {
    let mut version = None;
    loop {
        if let Err(error) = follow(&api, &mut version, &told).await
            && is_expired(&error)
        {
            version = None;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn follow(
    api: &Api<ConfigMap>,
    version: &mut Option<String>,
    told: &Mutex<Told>,
) -> hako_error::Result<()> {
    let params = ListParams::default().labels(LABEL);
    let from = match version {
        Some(version) => version,
        None => {
            let list = api.list_all(&params).await?;
            told.lock().listed(&list.items.iter().map(counted).collect());
            version.insert(list.resource_version)
        }
    };
    let mut events = api.watch(&params, from).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        let object = match &event {
            WatchEvent::Bookmark { resource_version, .. } => {
                from.clone_from(resource_version);
                continue;
            }
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => object,
        };
        let (name, counter) = counted(object);
        from.clone_from(object.metadata.resource_version.as_ref().unwrap());
        match event {
            WatchEvent::Deleted(_) => told.lock().deleted(&name, counter),
            _ => told.lock().changed(&name, counter),
        }
    }
    Ok(())
}

/// An informer tells of no lists: what it finds to be different after one comes as changes.
async fn informed(client: Client, told: Arc<Mutex<Told>>) {
    let informers = Informers::new(client);
    let informer = informers.get::<ConfigMap>();
    let mut changes = informer.changes();
    let counts = |object: &ConfigMap| object.metadata.labels.iter().flatten().any(|(key, _)| key == LABEL);
    while let Some(change) = changes.next().await {
        match change {
            Change::Resync => {
                let objects = informer.list();
                let there = objects.iter().filter(|object| counts(object)).map(|object| counted(object));
                told.lock().listed(&there.collect());
            }
            Change::Applied { new, .. } if counts(&new) => {
                let (name, counter) = counted(&new);
                told.lock().changed(&name, counter);
            }
            Change::Deleted(object) if counts(&object) => {
                let (name, _) = counted(&object);
                told.lock().gone(&name);
            }
            _ => {}
        }
    }
}

async fn watched(api: kube::Api<ConfigMap>, config: watcher::Config, told: Arc<Mutex<Told>>) {
    let mut events = watcher(api, config).boxed();
    let mut listed = Objects::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                told.lock().asked += 1;
                listed.clear();
            }
            Ok(Event::InitApply(object)) => listed.extend([counted(&object)]),
            Ok(Event::InitDone) => told.lock().listed(&listed),
            Ok(Event::Apply(object)) => {
                let (name, counter) = counted(&object);
                told.lock().changed(&name, counter);
            }
            Ok(Event::Delete(object)) => {
                let (name, counter) = counted(&object);
                told.lock().deleted(&name, counter);
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}
