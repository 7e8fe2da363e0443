//! One step about one object: does it still have an owner, and what does its deletion wait for?

use super::Collector;
use super::graph::{FOREGROUND, Node, Owner, Uid};
use crate::discovery;
use hako_client::{DeleteOptions, DynamicApi, EventType, Patch, Propagation, WriteOptions};
use hako_error::{Error, Kind, Result};
use hako_kube::Head;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const ORPHAN: &str = "orphan";
/// What waits in the foreground is looked at again even if no event comes.
const AGAIN: Duration = Duration::from_secs(5);
/// An owner of a kind that nobody serves: the kind may come.
const UNRESOLVED: Duration = Duration::from_secs(30);
/// An owner that no watch has shown: once its kind is watched, the graph tells of its end; until then nothing does.
const UNSEEN: Duration = Duration::from_secs(5);

/// What an owner reference leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tie {
    /// An owner that keeps the object.
    Solid,
    /// An owner that keeps the object, and goes unnoticed: its kind is not watched yet.
    Unseen,
    /// An owner that is being deleted and waits for the object to go.
    Waiting,
    /// Nothing.
    Gone,
    /// Nothing that could be asked for.
    Unresolvable,
}

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

/// Deletes the object if no owner keeps it any more, else drops the references to owners that do not.
async fn collect(collector: &Collector, uid: &str, node: &Node) -> Result<Option<Duration>> {
    // The object as it is now: an owner may have been added since.
    let Some(node) = present(collector, uid, node).await?.filter(|node| !node.is_deleting) else {
        return Ok(None);
    };
    let mut ties = Vec::new();
    for owner in &node.owners {
        ties.push((owner.uid.clone(), tie(collector, uid, &node, owner).await?));
    }
    let has = |wanted: Tie| ties.iter().any(|(_, tie)| *tie == wanted);
    if has(Tie::Unresolvable) {
        return Ok(Some(UNRESOLVED));
    }
    if has(Tie::Solid) || has(Tie::Unseen) {
        let is_loose = |(_, tie): &&(Uid, Tie)| !matches!(tie, Tie::Solid | Tie::Unseen);
        let loose: Vec<Uid> = ties.iter().filter(is_loose).map(|(uid, _)| uid.clone()).collect();
        if !loose.is_empty() {
            drop_references(collector, uid, &node, &loose).await?;
        }
    } else if !ties.is_empty() {
        delete(collector, uid, &node, has(Tie::Waiting)).await?;
    }
    Ok(has(Tie::Unseen).then_some(UNSEEN))
}

/// Deletes what nobody keeps. Its own dependents go before it where an owner waits for it, or where it says so.
async fn delete(collector: &Collector, uid: &str, node: &Node, is_awaited: bool) -> Result<()> {
    let propagation = if node.has_finalizer(ORPHAN) {
        Propagation::Orphan
    } else if is_awaited || node.has_finalizer(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    let options = DeleteOptions {
        propagation: Some(propagation),
        uid: Some(uid.to_owned()),
        ..DeleteOptions::default()
    };
    settle(api(collector, node).delete(&node.name, &options).await)
}

async fn present(collector: &Collector, uid: &str, node: &Node) -> Result<Option<Node>> {
    let object = match api(collector, node).get(&node.name).await {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    let now = Node::of(&node.served, head(&object)?).filter(|(now, _)| now == uid);
    Ok(now.map(|(_, node)| node))
}

fn head(object: &Value) -> Result<Head> {
    Head::of(object).map_err(|error| Error::new(Kind::Internal, "metadata of an object").with_source(error))
}

async fn tie(collector: &Collector, uid: &str, node: &Node, owner: &Owner) -> Result<Tie> {
    let of = |owner: &Node, alive: Tie| if owner.waits_for(FOREGROUND) { Tie::Waiting } else { alive };
    if let Some(known) = collector.graph.lock().owner(node, owner) {
        return Ok(of(known, Tie::Solid));
    }
    // The graph may not show it yet, or show it elsewhere: the API decides.
    let Some(served) = discovery::resource_of(&collector.client, &owner.api_version, &owner.kind).await?
    else {
        return Ok(Tie::Unresolvable);
    };
    if served.is_namespaced && node.namespace.is_none() {
        say_invalid_namespace(collector, uid, node, owner);
        return Ok(Tie::Unresolvable);
    }
    let namespace = node.namespace.as_deref().filter(|_| served.is_namespaced);
    let there = match collector.client.dynamic(&served.resource, namespace).get(&owner.name).await {
        Err(error) if error.is_not_found() => None,
        other => Some(other?),
    };
    let there = there.map(|object| head(&object)).transpose()?;
    let there = there.and_then(|head| Node::of(&Arc::new(served), head));
    if let Some((_, there)) = there.filter(|(there, _)| *there == owner.uid) {
        return Ok(of(&there, Tie::Unseen));
    }
    let is_elsewhere = |known: &Node| known.namespace.is_some() && known.namespace != node.namespace;
    if collector.graph.lock().get(&owner.uid).is_some_and(is_elsewhere) {
        say_invalid_namespace(collector, uid, node, owner);
    }
    Ok(Tie::Gone)
}

fn say_invalid_namespace(collector: &Collector, uid: &str, node: &Node, owner: &Owner) {
    let resource = &node.served.resource;
    let group = if resource.group.is_empty() { String::new() } else { format!("{}/", resource.group) };
    let object = ObjectReference {
        api_version: Some(format!("{group}{}", resource.version)),
        kind: Some(node.served.kind.clone()),
        name: Some(node.name.clone()),
        namespace: node.namespace.clone(),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    };
    let namespace = node.namespace.as_deref().unwrap_or_default();
    let Owner { uid, api_version, kind, name, .. } = owner;
    let identity = format!("[{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}]");
    let message = format!("ownerRef {identity} does not exist in namespace {namespace:?}");
    collector.events.event(&object, EventType::Warning, "OwnerRefInvalidNamespace", &message);
}

/// Has the dependents looked at that block the owner's end; lets it go when there are none.
async fn foreground(collector: &Collector, uid: &str, node: &Node) -> Result<Option<Duration>> {
    let blocking = collector.graph.lock().blocking(uid);
    if blocking.is_empty() {
        drop_finalizer(collector, uid, node, FOREGROUND).await?;
        return Ok(None);
    }
    blocking.into_iter().for_each(|dependent| collector.queue.add(dependent));
    Ok(Some(AGAIN))
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
    collector.client.dynamic(&node.served.resource, node.namespace.as_deref())
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
