//! Pods that wait for room that others are making for them, and where.
//!
//! INVARIANT: a nominated pod counts on no node; it only bars the room from pods that are not more important.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::node_info::NodeInfo;
use crate::pod_info::{PodInfo, PodKey};

#[derive(Debug)]
struct Nomination {
    node: String,
    info: Arc<PodInfo>,
    /// The uids of those that were asked to leave for it.
    victims: HashSet<String>,
}

/// Pods that wait for room that others are making for them.
#[derive(Debug, Default)]
pub struct Nominations(HashMap<PodKey, Nomination>);

impl Nominations {
    pub fn set(&mut self, node: &str, info: Arc<PodInfo>, victims: HashSet<String>) {
        self.0.insert(info.key.clone(), Nomination { node: node.to_owned(), info, victims });
    }

    /// Takes in what the pod's status says; what is known already knows more.
    pub fn learn(&mut self, node: &str, info: impl FnOnce() -> PodInfo, key: &PodKey, uid: &str) {
        let is_known = self.0.get(key).is_some_and(|it| it.info.uid == uid);
        if !is_known {
            self.set(node, Arc::new(info()), HashSet::new());
        }
    }

    /// The pod's status names no node any more. What was decided here may not have been written yet, so it stands.
    pub fn unlearn(&mut self, key: &PodKey) {
        if self.0.get(key).is_some_and(|nomination| nomination.victims.is_empty()) {
            self.0.remove(key);
        }
    }

    /// Says whether there was one.
    pub fn remove(&mut self, key: &PodKey) -> bool {
        self.0.remove(key).is_some()
    }

    pub fn retain(&mut self, keep: impl Fn(&PodKey) -> bool) {
        self.0.retain(|key, _| keep(key));
    }

    /// The node that a pod waits for.
    pub fn node_of(&self, key: &PodKey) -> Option<&str> {
        self.0.get(key).map(|nomination| nomination.node.as_str())
    }

    /// Whether a pod was asked to leave for another.
    pub fn is_victim_of(&self, key: &PodKey, uid: &str) -> bool {
        self.0.get(key).is_some_and(|nomination| nomination.victims.contains(uid))
    }

    /// A node as a pod may use it: without the room that waits for pods of its priority or a higher one.
    pub fn bar<'a>(&self, pod: &PodInfo, node: &'a NodeInfo) -> Cow<'a, NodeInfo> {
        let mut node = Cow::Borrowed(node);
        for nomination in self.0.values() {
            let other = &nomination.info;
            if nomination.node == node.name && other.key != pod.key && other.priority >= pod.priority {
                node.to_mut().add(other);
            }
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_named;

    #[test]
    fn what_a_status_says_is_learnt_unless_more_is_known_and_forgotten_with_it() {
        let info = || PodInfo::new(pod_named("p"));
        let (key, uid) = (info().key, info().uid);
        let mut nominations = Nominations::default();
        nominations.learn("a", info, &key, &uid);
        assert_eq!(nominations.node_of(&key), Some("a"));
        nominations.unlearn(&key);
        assert_eq!(nominations.node_of(&key), None);

        nominations.set("b", Arc::new(info()), HashSet::from(["victim".to_owned()]));
        nominations.learn("a", info, &key, &uid);
        nominations.unlearn(&key);
        assert_eq!(nominations.node_of(&key), Some("b"), "the status is behind what was decided");
        assert!(nominations.is_victim_of(&key, "victim"));
        nominations.learn("c", info, &key, "another pod of that name");
        assert_eq!(nominations.node_of(&key), Some("c"));
    }
}
