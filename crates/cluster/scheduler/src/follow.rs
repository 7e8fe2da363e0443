//! From the informers' changes to the picture of the nodes and the queue.

use std::sync::Arc;

use hako_client::Change;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::pod_info::{has_ended, key_of, node_of};
use crate::scheduler::Shared;

impl Shared {
    /// Whether this scheduler has to find a node for a pod.
    fn is_ours(&self, pod: &Pod) -> bool {
        let Some(spec) = &pod.spec else { return false };
        let scheduler = spec.scheduler_name.as_deref().filter(|name| !name.is_empty());
        let gates = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
        node_of(pod).is_none()
            && !gates
            && !has_ended(pod)
            && pod.metadata.deletion_timestamp.is_none()
            && scheduler.unwrap_or("default-scheduler") == self.name
    }

    /// Takes in one change of a pod.
    pub(crate) fn pod_changed(&self, change: Change<Pod>) {
        match change {
            Change::Applied { new, .. } => {
                if self.apply_pod(&new) {
                    self.queue.retry_unschedulable();
                }
            }
            Change::Deleted(pod) => {
                let key = key_of(&pod);
                self.queue.remove(&key);
                if self.cache.lock().remove(&key) {
                    self.queue.retry_unschedulable();
                }
            }
            Change::Resync => self.resync(),
        }
    }

    /// Says whether it made room.
    fn apply_pod(&self, pod: &Arc<Pod>) -> bool {
        let mut cache = self.cache.lock();
        let made_room = cache.apply(pod);
        if !self.is_ours(pod) {
            self.queue.remove(&key_of(pod));
        } else if !cache.is_placed(pod) {
            // INVARIANT: a pod whose bind is under way or done is not queued again by a watch that is behind.
            self.queue.add(pod);
        }
        made_room
    }

    /// Takes in one change of a node.
    pub(crate) fn node_changed(&self, change: Change<Node>) {
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
            }
            Change::Resync => self.resync(),
        }
    }

    /// Looks at everything: at the start, and after changes were missed.
    fn resync(&self) {
        {
            let mut cache = self.cache.lock();
            let has_pod = |key: &(String, String)| self.pods.get(&key.0, &key.1).is_some();
            self.queue.retain(has_pod);
            cache.retain(has_pod, |name| self.nodes.get("", name).is_some());
            for node in self.nodes.list() {
                cache.set_node(node);
            }
        }
        for pod in self.pods.list() {
            self.apply_pod(&pod);
        }
        self.queue.retry_unschedulable();
    }
}

/// Whether a pod that the old node refused could suit the new one; heartbeats and image lists cannot.
fn may_help(old: &Node, new: &Node) -> bool {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    old.metadata.labels != new.metadata.labels || old.spec != new.spec || allocatable(old) != allocatable(new)
}
