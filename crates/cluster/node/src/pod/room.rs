//! What the pods of a node hold of its resources, so that one gets more only while there is room.
//!
//! INVARIANT: a wish that is granted is held from that moment on, so that two pods never get the same room.

use hako_names::Quantity;
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::watch;

/// Resources by the name of the container they were granted to.
pub(crate) type Granted = BTreeMap<String, ResourceRequirements>;

/// Of these a container may get more while it runs.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// What becomes of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The pod holds it from now on.
    Granted,
    /// Others hold too much at present.
    Deferred(String),
    /// The node has not that much, whoever runs on it.
    Infeasible(String),
}

/// A pod, and what of it was granted other than it says now.
#[derive(Clone, Debug)]
struct Holding {
    pod: Arc<Pod>,
    granted: Granted,
}

/// What all pods of a node hold.
#[derive(Debug)]
pub(crate) struct Room {
    allocatable: BTreeMap<String, Quantity>,
    held: Mutex<HashMap<String, Holding>>,
    /// Counts how often a pod came to hold less.
    freed: watch::Sender<u64>,
}

impl Room {
    pub(crate) fn new(allocatable: BTreeMap<String, Quantity>) -> Self {
        Self { allocatable, held: Mutex::default(), freed: watch::Sender::new(0) }
    }

    /// Notes what a pod holds.
    pub(crate) fn hold(&self, pod: &Arc<Pod>, granted: Granted) {
        self.held.lock().insert(uid(pod), Holding { pod: Arc::clone(pod), granted });
    }

    /// A pod holds nothing any more.
    pub(crate) fn leave(&self, pod: &Pod) {
        let has_left = self.held.lock().remove(&uid(pod)).is_some();
        if has_left {
            self.freed.send_modify(|count| *count += 1);
        }
    }

    /// Whether a pod may hold what it wants, which it then does.
    pub(crate) fn ask(&self, pod: &Arc<Pod>, wanted: Granted) -> Answer {
        let mut held = self.held.lock();
        let wanted = Holding { pod: Arc::clone(pod), granted: wanted };
        let asked = wanted.requests();
        for name in RESIZABLE {
            let Some(has) = self.allocatable.get(name).copied() else { continue };
            let wish = amount(&asked, name);
            if wish > has {
                return Answer::Infeasible(format!(
                    "Node didn't have enough capacity: {name}, requested: {}, capacity: {}",
                    shown(name, wish),
                    shown(name, has)
                ));
            }
        }
        let own = held.remove(&uid(pod));
        let before = own.as_ref().map(Holding::requests).unwrap_or_default();
        let others: Vec<BTreeMap<String, Quantity>> = held.values().map(Holding::requests).collect();
        for name in RESIZABLE {
            let Some(has) = self.allocatable.get(name).copied() else { continue };
            let wish = amount(&asked, name);
            let used = others.iter().fold(Quantity::ZERO, |sum, one| sum + amount(one, name));
            // To want less is always fine, even where there is too much.
            if wish > amount(&before, name) && used + wish > has {
                held.extend(own.map(|own| (uid(pod), own)));
                let (wish, used, has) = (shown(name, wish), shown(name, used), shown(name, has));
                return Answer::Deferred(format!(
                    "Node didn't have enough resource: {name}, requested: {wish}, used: {used}, capacity: {has}"
                ));
            }
        }
        held.insert(uid(pod), wanted);
        drop(held);
        self.freed.send_modify(|count| *count += 1);
        Answer::Granted
    }

    /// Changes when there may be room that was not there before.
    pub(crate) fn freed(&self) -> watch::Receiver<u64> {
        self.freed.subscribe()
    }
}

impl Holding {
    /// What it takes of the node, counted as quotas count it.
    fn requests(&self) -> BTreeMap<String, Quantity> {
        let mut pod = serde_json::to_value(&*self.pod).unwrap_or_default();
        for list in ["containers", "initContainers"] {
            let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let granted = container["name"].as_str().and_then(|name| self.granted.get(name));
                if let Some(granted) = granted {
                    container["resources"] = serde_json::to_value(granted).unwrap_or_default();
                }
            }
        }
        hako_kube::quota::usage(("", "pods"), &pod)
    }
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

fn amount(requests: &BTreeMap<String, Quantity>, name: &str) -> Quantity {
    requests.get(name).copied().unwrap_or(Quantity::ZERO)
}

/// Thousandths of a cpu, bytes of memory, as the messages of a node count.
fn shown(name: &str, amount: Quantity) -> i64 {
    if name == "cpu" { amount.millis() } else { amount.units() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, cpu: &str) -> Arc<Pod> {
        let resources = json!({"requests": {"cpu": cpu}});
        let value = json!({"metadata": {"uid": uid}, "spec": {"containers": [{"name": "c", "resources": resources}]}});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn wish(cpu: &str) -> Granted {
        let resources = serde_json::from_value(json!({"requests": {"cpu": cpu}})).unwrap();
        [("c".to_owned(), resources)].into()
    }

    #[test]
    fn a_pod_gets_more_only_while_others_leave_room() {
        let room = Room::new([("cpu".to_owned(), "4".parse().unwrap())].into());
        let (one, other) = (pod("1", "1"), pod("2", "2"));
        room.hold(&one, Granted::new());
        room.hold(&other, Granted::new());
        let text = "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000";
        assert_eq!(room.ask(&one, wish("5")), Answer::Infeasible(text.into()));
        let text = "Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000";
        assert_eq!(room.ask(&one, wish("3")), Answer::Deferred(text.into()));
        assert_eq!(room.ask(&one, wish("2")), Answer::Granted);
        let Answer::Deferred(_) = room.ask(&other, wish("2500m")) else { panic!("what was granted is held") };
        let mut freed = room.freed();
        freed.mark_unchanged();
        assert_eq!(room.ask(&one, wish("1")), Answer::Granted);
        assert!(freed.has_changed().unwrap(), "others may ask again");
        assert_eq!(room.ask(&other, wish("3")), Answer::Granted);
        freed.mark_unchanged();
        room.leave(&other);
        assert!(freed.has_changed().unwrap());
        assert_eq!(room.ask(&one, wish("4")), Answer::Granted);
    }

    #[test]
    fn to_want_less_is_fine_even_where_there_is_too_much() {
        let room = Room::new([("cpu".to_owned(), "1".parse().unwrap())].into());
        let (one, other) = (pod("1", "1"), pod("2", "1"));
        room.hold(&one, Granted::new());
        room.hold(&other, Granted::new());
        assert_eq!(room.ask(&one, wish("500m")), Answer::Granted);
    }
}
