//! From changes in caches to keys in queues.

use hako_client::{Change, Informer, Object, WorkQueue};
use std::sync::Arc;

/// Namespace and name of an object; the namespace is empty for cluster-wide kinds.
pub(crate) type Key = (String, String);

pub(crate) fn key<K: Object>(object: &K) -> Key {
    let meta = object.metadata();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// Queues what `keys` names for every object before and after each change, for as long as the informer lives.
pub(crate) async fn follow<K: Object>(
    informer: Informer<K>,
    queue: WorkQueue<Key>,
    keys: impl Fn(&K) -> Vec<Key>,
) {
    let mut changes = informer.changes();
    let add = |object: &Arc<K>| keys(object).into_iter().for_each(|key| queue.add(key));
    while let Some(change) = changes.next().await {
        match change {
            Change::Applied { old, new } => {
                old.iter().for_each(&add);
                add(&new);
            }
            Change::Deleted(old) => add(&old),
            Change::Resync => informer.list().iter().for_each(&add),
        }
    }
}

/// The key of the object's controller where that is of `kind`.
pub(crate) fn controller_key<K: Object>(object: &K, kind: &str) -> Option<Key> {
    let meta = object.metadata();
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    (owner.kind == kind).then(|| (meta.namespace.clone().unwrap_or_default(), owner.name.clone()))
}

/// Whether the object's controller is the one with this uid.
pub(crate) fn is_controlled_by<K: Object>(object: &K, uid: &str) -> bool {
    object
        .metadata()
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// Whether no controller has the object.
pub(crate) fn is_orphan<K: Object>(object: &K) -> bool {
    !object.metadata().owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
}
