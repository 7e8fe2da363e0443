//! From watches of every kind to the graph.

use super::Collector;
use super::graph::Node;
use crate::discovery::{self, Served};
use futures::StreamExt;
use futures::future::join_all;
use hako_client::{ListParams, ResourceType, WatchEvent};
use hako_error::Result;
use hako_kube::Head;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

/// Objects of one page of a list.
const PAGE: u32 = 1000;
const BACKOFF: Duration = Duration::from_millis(500);
/// How often discovery is asked for kinds that came or went, and how soon after it failed.
const DISCOVERY_PERIOD: Duration = Duration::from_secs(10);
const DISCOVERY_RETRY: Duration = Duration::from_millis(200);

/// The reflectors that run.
#[derive(Default)]
struct Reflectors {
    tasks: JoinSet<()>,
    by_resource: HashMap<ResourceType, AbortHandle>,
}

/// Keeps one reflector for every kind that is served.
pub(super) async fn keep(collector: Arc<Collector>) {
    let mut reflectors = Reflectors::default();
    loop {
        match renew(&collector, &mut reflectors).await {
            Ok(lists) => {
                if !*collector.is_complete.borrow() {
                    join_all(lists).await;
                    collector.is_complete.send_replace(true);
                }
                tokio::time::sleep(DISCOVERY_PERIOD).await;
            }
            Err(error) => {
                tracing::debug!(error = %error.chain(), "discovery failed, trying again");
                tokio::time::sleep(DISCOVERY_RETRY).await;
            }
        }
    }
}

/// Starts reflectors of kinds that are new, ends those of kinds that are no longer served; gives the first lists of
/// the new ones. While part of discovery fails nothing counts as gone.
async fn renew(
    collector: &Arc<Collector>,
    reflectors: &mut Reflectors,
) -> Result<Vec<oneshot::Receiver<()>>> {
    let found = discovery::resources(&collector.client).await?;
    let served: Vec<Served> = found.served.into_iter().filter(is_collected).collect();
    if found.failures.is_empty() {
        let is_served = |resource: &ResourceType| served.iter().any(|one| one.resource == *resource);
        let gone: Vec<ResourceType> =
            reflectors.by_resource.keys().filter(|one| !is_served(one)).cloned().collect();
        for resource in gone {
            reflectors.by_resource.remove(&resource).inspect(AbortHandle::abort);
            forget(collector, &resource, &HashSet::new());
        }
    }
    let mut lists = Vec::new();
    for one in served.into_iter().map(Arc::new) {
        if !reflectors.by_resource.contains_key(&one.resource) {
            let (listed, list) = oneshot::channel();
            let resource = one.resource.clone();
            let task = reflectors.tasks.spawn(reflect(Arc::clone(collector), one, listed));
            reflectors.by_resource.insert(resource, task);
            lists.push(list);
        }
    }
    Ok(lists)
}

/// All that can be listed, watched and deleted. Events own nothing and are owned by nobody.
fn is_collected(one: &Served) -> bool {
    one.resource.plural != "events" && ["list", "watch", "delete"].iter().all(|verb| one.can(verb))
}

/// Keeps the graph's part of one resource current for ever.
async fn reflect(collector: Arc<Collector>, served: Arc<Served>, listed: oneshot::Sender<()>) {
    let mut listed = Some(listed);
    loop {
        if let Err(error) = follow(&collector, &served, &mut listed).await {
            let resource = &served.resource.plural;
            tracing::debug!(resource, error = %error.chain(), "watch ended, listing again");
        }
        tokio::time::sleep(BACKOFF).await;
    }
}

async fn follow(
    collector: &Collector,
    served: &Arc<Served>,
    listed: &mut Option<oneshot::Sender<()>>,
) -> Result<()> {
    let api = collector.client.dynamic(&served.resource, None);
    let mut seen = HashSet::new();
    let mut params = ListParams::default().limit(PAGE);
    let mut version = loop {
        let page = api.list_heads(&params).await?;
        for head in page.items {
            if let Some((uid, node)) = Node::of(served, head) {
                seen.insert(uid.clone());
                wake(collector, collector.graph.lock().put(uid, node));
            }
        }
        params.continue_token = page.continue_token;
        if params.continue_token.is_none() {
            break page.resource_version;
        }
    };
    forget(collector, &served.resource, &seen);
    if let Some(listed) = listed.take() {
        // Nobody waits any more where that took too long.
        let _ = listed.send(());
    }
    loop {
        let mut events = api.watch_heads(&ListParams::default(), &version).await?;
        while let Some(event) = events.next().await {
            match event? {
                WatchEvent::Added(head) => {
                    tell(collector, served, &head);
                    put(collector, served, &mut version, head);
                }
                WatchEvent::Modified(head) => put(collector, served, &mut version, head),
                WatchEvent::Deleted(head) => {
                    remember(&mut version, &head);
                    tell(collector, served, &head);
                    wake(collector, collector.graph.lock().remove(&head.metadata.uid));
                }
                WatchEvent::Bookmark { resource_version, .. } => version = resource_version,
            }
        }
    }
}

fn put(collector: &Collector, served: &Arc<Served>, version: &mut String, head: Head) {
    remember(version, &head);
    if let Some((uid, node)) = Node::of(served, head) {
        wake(collector, collector.graph.lock().put(uid, node));
    }
}

/// Says that there is one more or one less in the object's namespace.
fn tell(collector: &Collector, served: &Served, head: &Head) {
    if let Some(namespace) = &head.metadata.namespace {
        collector.arrivals.tell(&served.resource, namespace);
    }
}

/// Takes out of the graph what of a resource is not among those seen: it vanished while nobody watched.
fn forget(collector: &Collector, resource: &ResourceType, seen: &HashSet<String>) {
    let known = collector.graph.lock().of_resource(resource);
    for uid in known.into_iter().filter(|uid| !seen.contains(uid)) {
        wake(collector, collector.graph.lock().remove(&uid));
    }
}

fn remember(version: &mut String, head: &Head) {
    if let Some(newer) = &head.metadata.resource_version {
        version.clone_from(newer);
    }
}

fn wake(collector: &Collector, keys: Vec<String>) {
    keys.into_iter().for_each(|key| collector.queue.add(key));
}
