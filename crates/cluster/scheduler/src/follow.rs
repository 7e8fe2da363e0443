//! From the informers' changes to the picture of the nodes and the queue.

use std::sync::Arc;

use hako_client::Change;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};

use crate::cache::{Cache, Effect};
use crate::pod_info::{PodInfo, has_ended, key_of, node_of};
use crate::scheduler::Shared;

impl Shared {
    /// Whether this scheduler has to find a node for a pod, once its gates are open.
    fn is_ours(&self, pod: &Pod) -> bool {
        let Some(spec) = &pod.spec else { return false };
        let scheduler = spec.scheduler_name.as_deref().filter(|name| !name.is_empty());
        node_of(pod).is_none()
            && !has_ended(pod)
            && pod.metadata.deletion_timestamp.is_none()
            && scheduler.unwrap_or("default-scheduler") == self.name
    }

    /// Takes in one change of a pod.
    pub(crate) fn pod_changed(self: &Arc<Self>, change: Change<Pod>) {
        match change {
            Change::Applied { new, .. } => {
                let effect = self.apply_pod(&new);
                self.retry(effect);
            }
            Change::Deleted(pod) => {
                let key = key_of(&pod);
                self.queue.remove(&key);
                let (effect, was_nominated) = {
                    let mut cache = self.cache.lock();
                    (cache.remove(&key), cache.nominations.remove(&key))
                };
                self.retry(if was_nominated { Effect::Room } else { effect });
            }
            Change::Resync => self.resync(),
        }
    }

    fn apply_pod(self: &Arc<Self>, pod: &Arc<Pod>) -> Effect {
        let mut cache = self.cache.lock();
        let mut effect = cache.apply(pod);
        if !self.is_ours(pod) {
            self.queue.remove(&key_of(pod));
            if cache.nominations.remove(&key_of(pod)) {
                effect = Effect::Room;
            }
        } else if is_gated(pod) {
            self.queue.remove(&key_of(pod));
            self.tell_gated(pod);
        } else if !cache.is_placed(pod) {
            // INVARIANT: a pod whose bind is under way or done is not queued again by a watch that is behind.
            learn_nomination(&mut cache, pod);
            self.queue.add(pod);
        }
        effect
    }

    /// Tries those again that a change may help.
    fn retry(&self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Neighbours => self.queue.retry_minding(),
            Effect::Room => self.queue.retry_unschedulable(),
        }
    }

    /// Takes in one change of a namespace; only its labels matter.
    pub(crate) fn namespace_changed(self: &Arc<Self>, change: Change<Namespace>) {
        match change {
            Change::Applied { new, .. } => {
                if self.set_namespace(&new) {
                    self.queue.retry_minding();
                }
            }
            Change::Deleted(namespace) => {
                let name = namespace.metadata.name.as_deref().unwrap_or_default();
                self.cache.lock().neighbours.namespaces.remove(name);
            }
            Change::Resync => self.resync(),
        }
    }

    /// Says whether its labels are new.
    fn set_namespace(&self, namespace: &Namespace) -> bool {
        let name = namespace.metadata.name.clone().unwrap_or_default();
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        let mut cache = self.cache.lock();
        let old = cache.neighbours.namespaces.insert(name, labels.clone());
        old.is_none_or(|old| old != labels)
    }

    /// Takes in one change of a node.
    pub(crate) fn node_changed(self: &Arc<Self>, change: Change<Node>) {
        match change {
            Change::Applied { old, new } => {
                let relevant = old.is_none_or(|old| may_help(&old, &new));
                self.cache.lock().set_node(new);
                if relevant {
                    self.queue.retry_unschedulable();
                }
            }
            Change::Deleted(node) => {
                let name = node.metadata.name.as_deref().unwrap_or_default();
                self.cache.lock().remove_node(name);
                // The emptiest domain may have gone with it.
                self.queue.retry_minding();
            }
            Change::Resync => self.resync(),
        }
    }

    /// Looks at everything: at the start, and after changes were missed.
    fn resync(self: &Arc<Self>) {
        {
            let mut cache = self.cache.lock();
            let has_pod = |key: &(String, String)| self.pods.get(&key.0, &key.1).is_some();
            self.queue.retain(has_pod);
            cache.retain(has_pod, |name| self.nodes.get("", name).is_some());
            let has_namespace = |name: &String| self.namespaces.get("", name).is_some();
            cache.neighbours.namespaces.retain(|name, _| has_namespace(name));
            for node in self.nodes.list() {
                cache.set_node(node);
            }
        }
        for namespace in self.namespaces.list() {
            self.set_namespace(&namespace);
        }
        for pod in self.pods.list() {
            self.apply_pod(&pod);
        }
        self.queue.retry_unschedulable();
    }
}

/// What an earlier run of the scheduler decided stands.
fn learn_nomination(cache: &mut Cache, pod: &Arc<Pod>) {
    let node = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
    let Some(node) = node.filter(|node| !node.is_empty()) else {
        return cache.nominations.unlearn(&key_of(pod));
    };
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    cache.nominations.learn(node, || PodInfo::new(Arc::clone(pod)), &key_of(pod), uid);
}

/// Whether somebody still holds a pod back from being scheduled.
fn is_gated(pod: &Pod) -> bool {
    let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
    gates.is_some_and(|gates| !gates.is_empty())
}

/// Whether a pod that the old node refused could suit the new one; heartbeats and image lists cannot.
fn may_help(old: &Node, new: &Node) -> bool {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    old.metadata.labels != new.metadata.labels || old.spec != new.spec || allocatable(old) != allocatable(new)
}
