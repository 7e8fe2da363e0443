//! Who owns whom, as the watches show it. Pure.

use crate::discovery::Served;
use hako_client::ResourceType;
use hako_kube::{Head, OwnerReference};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub(super) type Uid = String;

pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// An object's place and its ties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub served: Arc<Served>,
    pub namespace: Option<String>,
    pub name: String,
    pub owners: Vec<Owner>,
    pub is_deleting: bool,
    pub finalizers: Vec<String>,
}

/// One owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub uid: Uid,
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub blocks: bool,
}

impl Node {
    /// The node of an object; none for one without a uid.
    pub(super) fn of(served: &Arc<Served>, head: Head) -> Option<(Uid, Self)> {
        let owner = |reference: OwnerReference| Owner {
            uid: reference.uid,
            api_version: reference.api_version,
            kind: reference.kind,
            name: reference.name,
            blocks: reference.block_owner_deletion == Some(true),
        };
        let is_deleting = head.is_deleting();
        let meta = head.metadata;
        let node = Self {
            served: Arc::clone(served),
            namespace: meta.namespace,
            name: meta.name,
            owners: meta.owner_references.into_iter().map(owner).collect(),
            is_deleting,
            finalizers: meta.finalizers,
        };
        (!meta.uid.is_empty()).then_some((meta.uid, node))
    }

    pub(super) fn waits_for(&self, finalizer: &str) -> bool {
        self.is_deleting && self.has_finalizer(finalizer)
    }

    pub(super) fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|one| one == finalizer)
    }

    /// Whether a reference of an object in `namespace` names this object, and not just its uid: references do not
    /// reach into other namespaces.
    fn is_named_by(&self, reference: &Owner, namespace: Option<&str>) -> bool {
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        group == self.served.resource.group
            && reference.kind == self.served.kind
            && reference.name == self.name
            && self.namespace.as_deref().is_none_or(|own| Some(own) == namespace)
    }
}

/// All objects with owners or dependents.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: HashMap<Uid, Node>,
    dependents: HashMap<Uid, BTreeSet<Uid>>,
}

impl Graph {
    /// Takes an object's present state; gives the keys that have to be looked at.
    pub(super) fn put(&mut self, uid: Uid, node: Node) -> Vec<Uid> {
        let old = self.nodes.get(&uid);
        if old == Some(&node) {
            return Vec::new();
        }
        let is_new = old.is_none();
        for owner in old.map(|old| old.owners.clone()).unwrap_or_default() {
            self.untie(&owner.uid, &uid);
        }
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        let mut keys = Vec::new();
        if node.is_deleting && !node.finalizers.is_empty()
            || node.owners.iter().any(|owner| self.owner(&node, owner).is_none())
        {
            keys.push(uid.clone());
        }
        if is_new {
            keys.extend(self.misled(&uid, &node));
        }
        // An owner that waits in the foreground is nearer to its end when a dependent starts to go.
        keys.extend(node.owners.iter().filter(|owner| self.waits(&owner.uid)).map(|owner| owner.uid.clone()));
        self.nodes.insert(uid, node);
        keys
    }

    /// Forgets an object; gives the keys that have to be looked at: its dependents, and owners that waited for it.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<Uid> {
        let Some(node) = self.nodes.remove(uid) else {
            return Vec::new();
        };
        let mut keys: Vec<Uid> = self.dependents(uid);
        for owner in node.owners {
            self.untie(&owner.uid, uid);
            if self.waits(&owner.uid) {
                keys.push(owner.uid);
            }
        }
        keys
    }

    fn untie(&mut self, owner: &str, dependent: &str) {
        if let Some(set) = self.dependents.get_mut(owner) {
            set.remove(dependent);
            if set.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    fn waits(&self, uid: &str) -> bool {
        self.nodes.get(uid).is_some_and(|node| node.is_deleting && !node.finalizers.is_empty())
    }

    /// The owner that a reference of `node` names.
    pub(super) fn owner(&self, node: &Node, reference: &Owner) -> Option<&Node> {
        let owner = self.nodes.get(&reference.uid)?;
        owner.is_named_by(reference, node.namespace.as_deref()).then_some(owner)
    }

    /// The dependents whose references have this uid and name something else.
    fn misled(&self, uid: &str, node: &Node) -> Vec<Uid> {
        let is_misled = |dependent: &Node| {
            let references = dependent.owners.iter().filter(|owner| owner.uid == uid);
            references.into_iter().any(|one| !node.is_named_by(one, dependent.namespace.as_deref()))
        };
        let dependents = self.dependents(uid).into_iter();
        dependents.filter(|uid| self.nodes.get(uid).is_some_and(&is_misled)).collect()
    }

    /// The dependents that an owner deleted in the foreground has to wait for. Those that wait for it in turn, by
    /// whatever detour, are not among them: all of a circle would wait for ever.
    pub(super) fn blocking(&self, uid: &str) -> Vec<Uid> {
        let blocks = |dependent: &Uid| {
            let references = self.nodes.get(dependent).into_iter().flat_map(|node| &node.owners);
            references.into_iter().any(|owner| owner.uid == uid && owner.blocks)
        };
        let dependents = self.dependents(uid).into_iter();
        dependents.filter(|one| blocks(one) && !self.awaits(one, uid)).collect()
    }

    /// Whether `from` waits in the foreground for `to`, or for one that does.
    fn awaits(&self, from: &str, to: &str) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(uid) = open.pop() {
            if uid == to {
                return true;
            }
            let is_waiting = self.nodes.get(&uid).is_some_and(|node| node.waits_for(FOREGROUND));
            if is_waiting && seen.insert(uid.clone()) {
                open.extend(self.dependents(&uid));
            }
        }
        false
    }

    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    pub(super) fn dependents(&self, uid: &str) -> Vec<Uid> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// The uids known of one resource, to find what vanished while nobody watched.
    pub(super) fn of_resource(&self, resource: &ResourceType) -> Vec<Uid> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.served.resource == *resource)
            .map(|(uid, _)| uid.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(name: &str, owners: &[&str], deleting: bool, finalizers: &[&str]) -> (Uid, Node) {
        let references: Vec<Value> = owners
            .iter()
            .map(|uid| json!({ "uid": uid, "name": uid, "kind": "Thing", "apiVersion": "v1", "blockOwnerDeletion": true }))
            .collect();
        let mut object = json!({ "metadata": { "uid": name, "name": name, "ownerReferences": references, "finalizers": finalizers } });
        if deleting {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let served = Served::of(ResourceType::new("", "v1", "things"), "Thing", false);
        Node::of(&Arc::new(served), Head::of(&object).unwrap()).unwrap()
    }

    #[test]
    fn dependents_of_what_went_are_looked_at() {
        let mut graph = Graph::default();
        let (uid, owner) = node("owner", &[], false, &[]);
        assert!(graph.put(uid, owner).is_empty());
        let (uid, dependent) = node("dependent", &["owner"], false, &[]);
        assert!(graph.put(uid, dependent).is_empty());
        assert_eq!(graph.remove("owner"), ["dependent"]);
    }

    #[test]
    fn a_dependent_without_its_owner_is_looked_at() {
        let mut graph = Graph::default();
        let (uid, dependent) = node("dependent", &["never"], false, &[]);
        assert_eq!(graph.put(uid, dependent), ["dependent"]);
    }

    #[test]
    fn an_owner_that_waits_hears_of_its_last_dependent() {
        let mut graph = Graph::default();
        let (uid, owner) = node("owner", &[], true, &["foregroundDeletion"]);
        assert_eq!(graph.put(uid, owner), ["owner"]);
        let (uid, dependent) = node("dependent", &["owner"], false, &[]);
        graph.put(uid, dependent);
        assert_eq!(graph.remove("dependent"), ["owner"]);
        assert!(graph.dependents("owner").is_empty());
    }

    #[test]
    fn ties_follow_changed_references() {
        let mut graph = Graph::default();
        let (uid, first) = node("d", &["a"], false, &[]);
        graph.put(uid, first);
        let (uid, second) = node("d", &["b"], false, &[]);
        graph.put(uid, second);
        assert!(graph.dependents("a").is_empty());
        assert_eq!(graph.dependents("b"), ["d"]);
    }

    #[test]
    fn a_reference_that_only_has_the_uid_of_something_else_names_nothing() {
        let mut graph = Graph::default();
        let (uid, mut dependent) = node("dependent", &["owner"], false, &[]);
        dependent.owners[0].name = "another".to_owned();
        graph.put(uid, dependent.clone());
        let (uid, owner) = node("owner", &[], false, &[]);
        assert_eq!(graph.put(uid, owner), ["dependent"]);
        assert!(graph.owner(&dependent, &dependent.owners[0]).is_none());
    }

    #[test]
    fn those_of_a_circle_do_not_wait_for_each_other() {
        let mut graph = Graph::default();
        for (name, owner) in [("a", "c"), ("b", "a"), ("c", "b"), ("d", "a")] {
            let (uid, node) = node(name, &[owner], true, &["foregroundDeletion"]);
            graph.put(uid, node);
        }
        assert_eq!(graph.blocking("a"), ["d"]);
    }
}
