//! The picture of all nodes, changed pod by pod.
//!
//! INVARIANT: a pod counts on exactly one node, or on none. An assumed pod counts until the watch confirms it, it is
//! deleted, or its bind is refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::node_info::NodeInfo;
use crate::pod_info::{PodInfo, PodKey, has_ended, key_of, node_of};

#[derive(Debug)]
struct Placed {
    node: String,
    info: Arc<PodInfo>,
    /// Decided here, not yet seen through the watch.
    assumed: bool,
}

/// All nodes and who is on them.
#[derive(Debug, Default)]
pub struct Cache {
    nodes: BTreeMap<String, NodeInfo>,
    pods: HashMap<PodKey, Placed>,
}

impl Cache {
    /// The nodes that exist, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|info| info.node.is_some())
    }

    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let info = self.nodes.entry(name.clone()).or_insert_with(|| NodeInfo::new(&name));
        info.set_node(node);
    }

    pub fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.get_mut(name) {
            info.node = None;
            if info.pods == 0 {
                self.nodes.remove(name);
            }
        }
    }

    /// Takes in a pod as the watch shows it; says whether it made room.
    pub fn apply(&mut self, pod: &Arc<Pod>) -> bool {
        let key = key_of(pod);
        let target = node_of(pod).filter(|_| !has_ended(pod));
        let same_uid = |placed: &&Placed| Some(&placed.info.uid) == pod.metadata.uid.as_ref();
        match (target, self.pods.get(&key)) {
            // Not bound as far as the watch knows: what we assumed stands, what another pod of that name took goes.
            (None, Some(placed)) if node_of(pod).is_none() && placed.assumed && same_uid(&placed) => false,
            (None, _) => self.remove(&key),
            (Some(node), Some(placed)) if placed.node == node && same_uid(&placed) => {
                self.confirm(&key, pod);
                false
            }
            (Some(node), _) => {
                let made_room = self.remove(&key);
                self.place(node, Arc::new(PodInfo::new(Arc::clone(pod))), false);
                made_room
            }
        }
    }

    /// Whether this very pod counts on a node.
    pub fn is_placed(&self, pod: &Pod) -> bool {
        let placed = self.pods.get(&key_of(pod));
        placed.is_some_and(|placed| Some(&placed.info.uid) == pod.metadata.uid.as_ref())
    }

    /// A pod that is where we think it is; its requests may have been resized.
    fn confirm(&mut self, key: &PodKey, pod: &Arc<Pod>) {
        let Some(placed) = self.pods.get_mut(key) else { return };
        placed.assumed = false;
        if placed.info.pod.spec == pod.spec {
            return;
        }
        let new = Arc::new(PodInfo::new(Arc::clone(pod)));
        if let Some(node) = self.nodes.get_mut(&placed.node) {
            node.remove(&placed.info);
            node.add(&new);
        }
        placed.info = new;
    }

    /// Counts a pod on a node from now on, before it is bound.
    pub fn assume(&mut self, node: &str, info: Arc<PodInfo>) {
        self.remove(&info.key.clone());
        self.place(node, info, true);
    }

    /// Takes an assumption back.
    pub fn forget(&mut self, info: &PodInfo) {
        let assumed = self.pods.get(&info.key);
        if assumed.is_some_and(|placed| placed.assumed && placed.info.uid == info.uid) {
            self.remove(&info.key);
        }
    }

    fn place(&mut self, node: &str, info: Arc<PodInfo>, assumed: bool) {
        let on = self.nodes.entry(node.to_owned()).or_insert_with(|| NodeInfo::new(node));
        on.add(&info);
        let placed = Placed { node: node.to_owned(), info: Arc::clone(&info), assumed };
        self.pods.insert(info.key.clone(), placed);
    }

    /// Forgets a pod; says whether that made room.
    pub fn remove(&mut self, key: &PodKey) -> bool {
        let Some(placed) = self.pods.remove(key) else { return false };
        let Some(info) = self.nodes.get_mut(&placed.node) else { return true };
        info.remove(&placed.info);
        if info.pods == 0 && info.node.is_none() {
            self.nodes.remove(&placed.node);
        }
        true
    }

    /// Forgets all pods and nodes that are not in these lists.
    pub fn retain(&mut self, has_pod: impl Fn(&PodKey) -> bool, has_node: impl Fn(&str) -> bool) {
        let gone: Vec<_> = self.pods.keys().filter(|key| !has_pod(key)).cloned().collect();
        for key in gone {
            self.remove(&key);
        }
        let gone: Vec<_> = self.nodes.keys().filter(|name| !has_node(name)).cloned().collect();
        for name in gone {
            self.remove_node(&name);
        }
    }

    #[cfg(test)]
    pub fn node(&self, name: &str) -> &NodeInfo {
        &self.nodes[name]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::CPU;
    use crate::testing::{bound, node, pod_named, pod_with_cpu};

    #[test]
    fn a_pod_counts_once_however_often_it_is_seen_and_not_after_it_ended() {
        let mut cache = Cache::default();
        cache.set_node(node("n", "4", "8Gi"));
        let pod = bound(pod_with_cpu("a", "1"), "n");
        assert!(!cache.apply(&pod));
        cache.apply(&pod);
        assert_eq!((cache.node("n").requested.get(CPU), cache.node("n").pods), (1000, 1));

        let mut ended = (*pod).clone();
        ended.status.get_or_insert_default().phase = Some("Succeeded".into());
        assert!(cache.apply(&Arc::new(ended)), "it made room");
        assert_eq!((cache.node("n").requested.get(CPU), cache.node("n").pods), (0, 0));
    }

    #[test]
    fn an_assumed_pod_counts_until_it_is_confirmed_forgotten_or_replaced() {
        let mut cache = Cache::default();
        cache.set_node(node("n", "4", "8Gi"));
        let unbound = pod_with_cpu("a", "1");
        let info = Arc::new(PodInfo::new(Arc::clone(&unbound)));
        cache.assume("n", Arc::clone(&info));
        cache.apply(&unbound);
        assert_eq!(cache.node("n").pods, 1, "the watch is behind");
        cache.forget(&info);
        assert_eq!(cache.node("n").pods, 0);

        cache.assume("n", Arc::clone(&info));
        cache.apply(&bound(Arc::clone(&unbound), "n"));
        cache.forget(&info);
        assert_eq!(cache.node("n").pods, 1, "confirmed by the watch, so the bind did happen");

        let mut other = (*unbound).clone();
        other.metadata.uid = Some("another".into());
        assert!(cache.apply(&Arc::new(other)), "a new pod of that name is not there yet");
        assert_eq!(cache.node("n").pods, 0);
    }

    #[test]
    fn pods_of_an_unknown_node_count_when_it_appears() {
        let mut cache = Cache::default();
        cache.apply(&bound(pod_with_cpu("a", "1"), "n"));
        assert_eq!(cache.nodes().count(), 0);
        cache.set_node(node("n", "4", "8Gi"));
        assert_eq!(cache.node("n").free(CPU), 3000);
        cache.remove_node("n");
        assert_eq!(cache.nodes().count(), 0);
        cache.remove(&key_of(&pod_named("a")));
        assert!(cache.nodes.is_empty());
    }
}
