//! From watches of every kind to the graph.

use super::Collector;
use super::graph::Node;
use crate::discovery;
use futures::StreamExt;
use hako_client::{Client, ListParams, ResourceType, WatchEvent};
use hako_error::Result;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

const BACKOFF: Duration = Duration::from_millis(500);

/// All resources that can be listed, watched and deleted. Events own nothing and are owned by nobody.
pub(super) async fn resources(client: &Client) -> Result<Vec<Arc<ResourceType>>> {
    let served = discovery::resources(client).await?;
    let wanted = |one: &discovery::Served| {
        one.resource.plural != "events" && ["list", "watch", "delete"].iter().all(|verb| one.can(verb))
    };
    Ok(served.into_iter().filter(wanted).map(|one| Arc::new(one.resource)).collect())
}

/// Keeps the graph's part of one resource current for ever.
pub(super) async fn reflect(collector: Arc<Collector>, resource: Arc<ResourceType>) {
    loop {
        if let Err(error) = follow(&collector, &resource).await {
            tracing::debug!(resource = resource.plural, error = %error.chain(), "watch ended, listing again");
        }
        tokio::time::sleep(BACKOFF).await;
    }
}

async fn follow(collector: &Collector, resource: &Arc<ResourceType>) -> Result<()> {
    let api = collector.client.dynamic(resource, None);
    let list = api.list(&ListParams::default()).await?;
    let mut seen = HashSet::new();
    for object in &list.items {
        if let Some((uid, node)) = Node::of(resource, object) {
            seen.insert(uid.clone());
            wake(collector, collector.graph.lock().put(uid, node));
        }
    }
    let known = collector.graph.lock().of_resource(resource);
    for uid in known.into_iter().filter(|uid| !seen.contains(uid)) {
        wake(collector, collector.graph.lock().remove(&uid));
    }
    let mut version = list.resource_version;
    loop {
        let mut events = api.watch(&ListParams::default(), &version).await?;
        while let Some(event) = events.next().await {
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    remember(&mut version, &object);
                    if let Some((uid, node)) = Node::of(resource, &object) {
                        wake(collector, collector.graph.lock().put(uid, node));
                    }
                }
                WatchEvent::Deleted(object) => {
                    remember(&mut version, &object);
                    if let Some(uid) = object["metadata"]["uid"].as_str() {
                        wake(collector, collector.graph.lock().remove(uid));
                    }
                }
                WatchEvent::Bookmark { resource_version, .. } => version = resource_version,
            }
        }
    }
}

fn remember(version: &mut String, object: &Value) {
    if let Some(newer) = object["metadata"]["resourceVersion"].as_str() {
        newer.clone_into(version);
    }
}

fn wake(collector: &Collector, keys: Vec<String>) {
    keys.into_iter().for_each(|key| collector.queue.add(key));
}
