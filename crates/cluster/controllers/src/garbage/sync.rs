//! One step about one object: does it still have an owner, and what does its deletion wait for?

use super::Collector;
use super::graph::{Node, Owner, Uid};
use hako_client::{DeleteOptions, DynamicApi, Patch, Propagation, ResourceType, WriteOptions};
use hako_error::{Error, Kind, Result};
use serde_json::{Value, json};
use std::time::Duration;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// What waits in the foreground is looked at again even if no event comes.
const AGAIN: Duration = Duration::from_secs(5);

pub(super) async fn sync(collector: &Collector, uid: Uid) -> Result<Option<Duration>> {
    let Some(node) = collector.graph.lock().get(&uid).cloned() else {
        return Ok(None);
    };
    if node.waits_for(ORPHAN) {
        return orphan(collector, &uid, &node).await;
    }
    if node.waits_for(FOREGROUND) {
        return foreground(collector, &uid, &node).await;
    }
    if node.is_deleting || node.owners.is_empty() {
        return Ok(None);
    }
    collect(collector, &uid, &node).await
}

/// Deletes the object if none of its owners exists any more, else drops the references to those that do not.
async fn collect(collector: &Collector, uid: &str, node: &Node) -> Result<Option<Duration>> {
    let mut gone = Vec::new();
    let mut waits = false;
    for owner in &node.owners {
        let known = collector.graph.lock().get(&owner.uid).cloned();
        match known {
            Some(owner) => waits |= owner.waits_for(FOREGROUND),
            // The graph may not show it yet: the API decides.
            None if exists(collector, node, owner).await? => {}
            None => gone.push(owner.uid.clone()),
        }
    }
    if gone.len() == node.owners.len() || (waits && gone.len() + 1 == node.owners.len()) {
        let propagation = if waits { Propagation::Foreground } else { Propagation::Background };
        let options = DeleteOptions {
            propagation: Some(propagation),
            uid: Some(uid.to_owned()),
            ..DeleteOptions::default()
        };
        settle(api(collector, node).delete(&node.name, &options).await)?;
    } else if !gone.is_empty() {
        drop_references(collector, uid, node, &gone).await?;
    }
    Ok(None)
}

async fn exists(collector: &Collector, node: &Node, owner: &Owner) -> Result<bool> {
    let Some(resource) = resource_of(collector, owner).await? else {
        // A kind that nobody serves: its objects cannot be asked for, so they are left in peace.
        return Ok(true);
    };
    let (resource, is_namespaced) = resource;
    let api = collector.client.dynamic(&resource, node.namespace.as_deref().filter(|_| is_namespaced));
    match api.get(&owner.name).await {
        Ok(object) => Ok(object["metadata"]["uid"] == owner.uid.as_str()),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

async fn resource_of(collector: &Collector, owner: &Owner) -> Result<Option<(ResourceType, bool)>> {
    let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
    let path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    let text = match collector.client.get_text(&path).await {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    let list: Value = serde_json::from_str(&text)
        .map_err(|error| Error::new(Kind::Internal, format!("discovery of {path}")).with_source(error))?;
    let is_it = |entry: &&Value| {
        entry["kind"] == owner.kind.as_str() && !entry["name"].as_str().unwrap_or("/").contains('/')
    };
    let entry = list["resources"].as_array().into_iter().flatten().find(is_it);
    Ok(entry.map(|entry| {
        (
            ResourceType::new(group, version, entry["name"].as_str().unwrap_or_default()),
            entry["namespaced"] == true,
        )
    }))
}

/// Deletes the dependents first; lets the object go when none is left that blocks it.
async fn foreground(collector: &Collector, uid: &str, node: &Node) -> Result<Option<Duration>> {
    let mut blocked = false;
    for (dependent_uid, dependent) in dependents(collector, uid) {
        blocked |= dependent.owners.iter().any(|owner| owner.uid == uid && owner.blocks);
        let others = dependent.owners.iter().filter(|owner| owner.uid != uid);
        let is_kept = others
            .clone()
            .any(|owner| collector.graph.lock().get(&owner.uid).is_some_and(|owner| !owner.is_deleting));
        if is_kept {
            drop_references(collector, &dependent_uid, &dependent, &[uid.to_owned()]).await?;
        } else if !dependent.is_deleting {
            let options = DeleteOptions {
                propagation: Some(Propagation::Foreground),
                uid: Some(dependent_uid),
                ..DeleteOptions::default()
            };
            settle(api(collector, &dependent).delete(&dependent.name, &options).await)?;
        }
    }
    if blocked {
        return Ok(Some(AGAIN));
    }
    drop_finalizer(collector, uid, node, FOREGROUND).await?;
    Ok(None)
}

async fn orphan(collector: &Collector, uid: &str, node: &Node) -> Result<Option<Duration>> {
    for (dependent_uid, dependent) in dependents(collector, uid) {
        drop_references(collector, &dependent_uid, &dependent, &[uid.to_owned()]).await?;
    }
    drop_finalizer(collector, uid, node, ORPHAN).await?;
    Ok(None)
}

fn dependents(collector: &Collector, uid: &str) -> Vec<(Uid, Node)> {
    let graph = collector.graph.lock();
    graph
        .dependents(uid)
        .into_iter()
        .filter_map(|uid| graph.get(&uid).cloned().map(|node| (uid, node)))
        .collect()
}

fn api(collector: &Collector, node: &Node) -> DynamicApi {
    collector.client.dynamic(&node.resource, node.namespace.as_deref())
}

async fn drop_references(collector: &Collector, uid: &str, node: &Node, owners: &[Uid]) -> Result<()> {
    change(collector, uid, node, "ownerReferences", |reference| {
        !owners.iter().any(|owner| reference["uid"] == owner.as_str())
    })
    .await
}

async fn drop_finalizer(collector: &Collector, uid: &str, node: &Node, finalizer: &str) -> Result<()> {
    change(collector, uid, node, "finalizers", |one| one != finalizer).await
}

/// Keeps the items of a list in the metadata for which `keep` holds, on the object as it is now.
async fn change(
    collector: &Collector,
    uid: &str,
    node: &Node,
    field: &str,
    keep: impl Fn(&Value) -> bool,
) -> Result<()> {
    let api = api(collector, node);
    let object = match api.get(&node.name).await {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    let meta = &object["metadata"];
    let list = meta[field].as_array().cloned().unwrap_or_default();
    let kept: Vec<&Value> = list.iter().filter(|item| keep(item)).collect();
    if meta["uid"] != uid || kept.len() == list.len() {
        return Ok(());
    }
    let value = if kept.is_empty() { Value::Null } else { json!(kept) };
    let patch =
        Patch::Merge(json!({ "metadata": { "resourceVersion": meta["resourceVersion"], field: value } }));
    settle(api.patch(&node.name, None, &patch, &WriteOptions::default()).await.map(drop))
}

/// Gone already, or replaced by another of the same name: both mean there is nothing left to do.
fn settle(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
