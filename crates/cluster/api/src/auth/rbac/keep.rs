//! Keeps the index as the store is.

use std::sync::Arc;

use hako_store::{Entry, Event, EventKind};

use super::index::{Index, Part};
use crate::followed::{Followed, rest};
use crate::server::Inner;

/// Roles and bindings; the index is the server's.
#[derive(Debug)]
pub(crate) struct Roles;

impl Followed for Roles {
    const PREFIX: &'static str = "/registry/rbac.authorization.k8s.io/";
    const WHAT: &'static str = "roles and bindings";

    fn load(&mut self, server: &Arc<Inner>, entries: &[Arc<Entry>]) {
        let mut index = Index::default();
        for entry in entries {
            if let Some((part, namespace, name)) = place(&entry.key) {
                index.put(part, namespace, name, Some(&entry.value));
            }
        }
        *server.rbac.write() = index;
    }

    fn change(&mut self, server: &Arc<Inner>, events: &[Arc<Event>]) {
        let mut index = server.rbac.write();
        for event in events {
            if let Some((part, namespace, name)) = place(&event.entry.key) {
                let stored = (event.kind == EventKind::Put).then_some(&event.entry.value[..]);
                index.put(part, namespace, name, stored);
            }
        }
    }
}

/// What a key is of: part, namespace, name.
fn place(key: &[u8]) -> Option<(Part, &str, &str)> {
    let (plural, rest) = rest::<Roles>(key).split_once('/')?;
    match plural {
        "clusterroles" => Some((Part::Role, "", rest)),
        "clusterrolebindings" => Some((Part::Binding, "", rest)),
        "roles" => rest.split_once('/').map(|(namespace, name)| (Part::Role, namespace, name)),
        "rolebindings" => rest.split_once('/').map(|(namespace, name)| (Part::Binding, namespace, name)),
        _ => None,
    }
}
