//! The picture of all nodes, changed pod by pod.
//!
//! INVARIANT: a pod counts on exactly one node, or on none. An assumed pod counts until the watch confirms it, it is
//! deleted, or its bind is refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::neighbours::Neighbours;
use crate::node_info::NodeInfo;
use crate::nominations::Nominations;
use crate::pod_info::{PodInfo, PodKey, has_ended, key_of, node_of};
use crate::preempt::by_importance;
use crate::terms::Labels;

/// A pod and the node it counts on.
#[derive(Debug)]
pub struct Placed {
    node: String,
    pub info: Arc<PodInfo>,
    /// Decided here, not yet seen through the watch.
    assumed: bool,
}

/// What a change means for pods that found no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that could help any.
    Nothing,
    /// It may help those that mind other pods.
    Neighbours,
    /// It may help any: there is more room.
    Room,
}

/// All nodes and who is on them.
#[derive(Debug, Default)]
pub struct Cache {
    nodes: BTreeMap<String, NodeInfo>,
    pods: HashMap<PodKey, Placed>,
    /// The same pods by what other pods can tell of them.
    pub neighbours: Neighbours,
    /// Pods that wait for room that others are making.
    pub nominations: Nominations,
    /// How many pods there are of each priority.
    priorities: BTreeMap<i32, usize>,
}

impl Cache {
    /// The nodes that exist, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|info| info.node.is_some())
    }

    /// The labels of a node that exists.
    pub fn labels(&self, node: &str) -> Option<&Labels> {
        self.node_named(node).map(NodeInfo::labels)
    }

    /// A node that exists.
    pub fn node_named(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|info| info.node.is_some())
    }

    /// The lowest priority of all pods.
    pub fn lowest_priority(&self) -> Option<i32> {
        self.priorities.keys().next().copied()
    }

    /// The pods below a priority by node, the most important first.
    pub fn below(&self, priority: i32) -> BTreeMap<String, Vec<Arc<PodInfo>>> {
        let mut below: BTreeMap<String, Vec<Arc<PodInfo>>> = BTreeMap::new();
        for placed in self.pods.values().filter(|placed| placed.info.priority < priority) {
            below.entry(placed.node.clone()).or_default().push(Arc::clone(&placed.info));
        }
        by_importance(&mut below);
        below
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

    /// Takes in a pod as the watch shows it.
    pub fn apply(&mut self, pod: &Arc<Pod>) -> Effect {
        let key = key_of(pod);
        let target = node_of(pod).filter(|_| !has_ended(pod));
        let same_uid = |placed: &&Placed| Some(&placed.info.uid) == pod.metadata.uid.as_ref();
        match (target, self.pods.get(&key)) {
            // Not bound as far as the watch knows: what we assumed stands, what another pod of that name took goes.
            (None, Some(placed)) if node_of(pod).is_none() && placed.assumed && same_uid(&placed) => {
                Effect::Nothing
            }
            (None, _) => self.remove(&key),
            (Some(node), Some(placed)) if placed.node == node && same_uid(&placed) => self.confirm(&key, pod),
            (Some(node), _) => {
                let made_room = self.remove(&key) == Effect::Room;
                let info = Arc::new(PodInfo::new(Arc::clone(pod)));
                self.nominations.remove(&key);
                self.put_back(Placed { node: node.to_owned(), info, assumed: false });
                if made_room { Effect::Room } else { Effect::Neighbours }
            }
        }
    }

    /// Whether this very pod counts on a node.
    pub fn is_placed(&self, pod: &Pod) -> bool {
        let placed = self.pods.get(&key_of(pod));
        placed.is_some_and(|placed| Some(&placed.info.uid) == pod.metadata.uid.as_ref())
    }

    /// A pod that is where we think it is; its requests may have been resized, its labels changed.
    fn confirm(&mut self, key: &PodKey, pod: &Arc<Pod>) -> Effect {
        let Some(placed) = self.pods.get_mut(key) else { return Effect::Nothing };
        let was_assumed = std::mem::take(&mut placed.assumed);
        let (old, new) = (&placed.info.pod.metadata, &pod.metadata);
        let is_same_likeness =
            old.labels == new.labels && old.deletion_timestamp.is_some() == new.deletion_timestamp.is_some();
        let is_same_spec = placed.info.pod.spec == pod.spec;
        if is_same_likeness && is_same_spec {
            return if was_assumed { Effect::Neighbours } else { Effect::Nothing };
        }
        if let Some(placed) = self.take(key) {
            self.put_back(Placed { info: Arc::new(PodInfo::new(Arc::clone(pod))), ..placed });
        }
        // The binding itself changes the spec, but nothing that takes room.
        if was_assumed || is_same_spec { Effect::Neighbours } else { Effect::Room }
    }

    /// Counts a pod on a node from now on, before it is bound.
    pub fn assume(&mut self, node: &str, info: Arc<PodInfo>) {
        self.remove(&info.key);
        self.nominations.remove(&info.key);
        self.put_back(Placed { node: node.to_owned(), info, assumed: true });
    }

    /// Takes an assumption back.
    pub fn forget(&mut self, info: &PodInfo) {
        let assumed = self.pods.get(&info.key);
        if assumed.is_some_and(|placed| placed.assumed && placed.info.uid == info.uid) {
            self.remove(&info.key);
        }
    }

    /// Counts a pod on its node; undoes [`Cache::take`].
    pub fn put_back(&mut self, placed: Placed) {
        let (node, info) = (&placed.node, &placed.info);
        let on = self.nodes.entry(node.clone()).or_insert_with(|| NodeInfo::new(node));
        on.add(info);
        self.neighbours.add(node, &info.likeness);
        *self.priorities.entry(info.priority).or_default() += 1;
        self.pods.insert(info.key.clone(), placed);
    }

    /// Counts a pod nowhere any more.
    pub fn take(&mut self, key: &PodKey) -> Option<Placed> {
        let placed = self.pods.remove(key)?;
        let (node, info) = (&placed.node, &placed.info);
        self.neighbours.remove(node, &info.likeness);
        if let Some(count) = self.priorities.get_mut(&info.priority) {
            *count -= 1;
            if *count == 0 {
                self.priorities.remove(&info.priority);
            }
        }
        if let Some(on) = self.nodes.get_mut(node) {
            on.remove(info);
            if on.pods == 0 && on.node.is_none() {
                self.nodes.remove(node);
            }
        }
        Some(placed)
    }

    /// Forgets a pod.
    pub fn remove(&mut self, key: &PodKey) -> Effect {
        if self.take(key).is_some() { Effect::Room } else { Effect::Nothing }
    }

    /// Forgets all pods and nodes that are not in these lists.
    pub fn retain(&mut self, has_pod: impl Fn(&PodKey) -> bool, has_node: impl Fn(&str) -> bool) {
        self.nominations.retain(&has_pod);
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
        assert_eq!(cache.apply(&pod), Effect::Neighbours);
        assert_eq!(cache.apply(&pod), Effect::Nothing);
        assert_eq!((cache.node("n").requested.get(CPU), cache.node("n").pods), (1000, 1));

        let mut ended = (*pod).clone();
        ended.status.get_or_insert_default().phase = Some("Succeeded".into());
        assert_eq!(cache.apply(&Arc::new(ended)), Effect::Room);
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
        assert_eq!(cache.apply(&bound(Arc::clone(&unbound), "n")), Effect::Neighbours);
        cache.forget(&info);
        assert_eq!(cache.node("n").pods, 1, "confirmed by the watch, so the bind did happen");

        let mut other = (*unbound).clone();
        other.metadata.uid = Some("another".into());
        assert_eq!(cache.apply(&Arc::new(other)), Effect::Room, "a new pod of that name is not there yet");
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
        assert!(cache.nodes.is_empty() && cache.neighbours.is_empty());
    }

    #[test]
    fn a_pod_whose_labels_change_or_that_is_being_deleted_is_told_to_those_that_mind() {
        let mut cache = Cache::default();
        cache.set_node(node("n", "4", "8Gi"));
        let mut pod = (*bound(pod_named("a"), "n")).clone();
        cache.apply(&Arc::new(pod.clone()));
        pod.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
        assert_eq!(cache.apply(&Arc::new(pod.clone())), Effect::Neighbours);
        pod.metadata.deletion_timestamp =
            Some(serde_json::from_value("2026-01-01T00:00:00Z".into()).unwrap());
        assert_eq!(cache.apply(&Arc::new(pod.clone())), Effect::Neighbours);
        assert_eq!(cache.neighbours.all().map(|(pod, _)| pod.is_terminating).collect::<Vec<_>>(), [true]);
        pod.spec.as_mut().unwrap().containers[0].image = Some("web:2".into());
        assert_eq!(cache.apply(&Arc::new(pod.clone())), Effect::Room, "a resize could show like this");
        cache.remove(&key_of(&pod));
        assert!(cache.neighbours.is_empty());
    }
}
