//! Pods that wait for a node.
//!
//! A pod is *ready* (ordered by priority, then age), *running* (being decided or bound), *backing off* (ready at a
//! time) or *unschedulable* (ready when something relevant changes, at the latest after five minutes).
//!
//! Changes that can only help pods that mind others (affinity, topology spread) do not wake the rest.
//!
//! INVARIANT: a change that happens while a pod is running is not lost: it then backs off instead of sleeping.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::pod_info::{PodInfo, PodKey, key_of};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(10);
/// An unschedulable pod is looked at again after so long even if nothing seems to have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Ready,
    Running { changes: u64 },
    BackingOff,
    Unschedulable { not_before: Instant },
}

#[derive(Debug)]
struct Waiting {
    info: Arc<PodInfo>,
    attempts: u32,
    stage: Stage,
    /// Tells its current place in a heap from earlier ones.
    ticket: u64,
}

/// Priority, then age, then arrival.
type Rank = (i32, Reverse<Option<Timestamp>>, Reverse<u64>);

#[derive(Debug, Default)]
struct State {
    pods: HashMap<PodKey, Waiting>,
    ready: BinaryHeap<(Rank, u64, PodKey)>,
    later: BinaryHeap<Reverse<(Instant, u64, PodKey)>>,
    tickets: u64,
    changes: u64,
    /// Those of the changes above that only concern pods that mind others come on top for these.
    changes_for_minding: u64,
    /// Unschedulable pods that mind others; some may have moved on since.
    minding: HashSet<PodKey>,
}

/// Pods that wait for a node.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    wake: Notify,
}

impl Queue {
    /// Takes in a pod without a node, or its newer version.
    pub fn add(&self, pod: &Arc<Pod>) {
        let mut state = self.state.lock();
        let key = key_of(pod);
        if let Some(waiting) = state.pods.get_mut(&key) {
            let old = &waiting.info.pod;
            let same = old.spec == pod.spec && old.metadata.labels == pod.metadata.labels;
            if waiting.info.uid == pod.metadata.uid.as_deref().unwrap_or_default() {
                waiting.info = Arc::new(PodInfo::new(Arc::clone(pod)));
                if !same && matches!(waiting.stage, Stage::Unschedulable { .. }) {
                    state.make_ready(&key);
                    self.wake.notify_one();
                }
                return;
            }
        }
        let waiting = Waiting {
            info: Arc::new(PodInfo::new(Arc::clone(pod))),
            attempts: 0,
            stage: Stage::Ready,
            ticket: 0,
        };
        state.pods.insert(key.clone(), waiting);
        state.make_ready(&key);
        self.wake.notify_one();
    }

    /// Forgets a pod: it is bound or gone.
    pub fn remove(&self, key: &PodKey) {
        self.state.lock().pods.remove(key);
    }

    /// Forgets all pods that are not wanted any more.
    pub fn retain(&self, keep: impl Fn(&PodKey) -> bool) {
        self.state.lock().pods.retain(|key, _| keep(key));
    }

    /// The next pod to decide about; its outcome is told by [`Queue::remove`] or [`Queue::failed`].
    pub async fn next(&self) -> Arc<PodInfo> {
        loop {
            let deadline = {
                let mut state = self.state.lock();
                state.wake_due(Instant::now());
                if let Some(info) = state.pop() {
                    return info;
                }
                state.later.peek().map(|Reverse((at, ..))| *at)
            };
            match deadline {
                None => self.wake.notified().await,
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, self.wake.notified()).await;
                }
            }
        }
    }

    /// A running pod found no node (`unschedulable`), or its bind was refused.
    pub fn failed(&self, info: &PodInfo, unschedulable: bool) {
        let mut state = self.state.lock();
        let now_changes = state.changes_for(info);
        let Some(waiting) = state.pods.get_mut(&info.key) else { return };
        let Stage::Running { changes } = waiting.stage else { return };
        waiting.attempts += 1;
        let not_before = Instant::now() + backoff(waiting.attempts);
        if unschedulable && changes == now_changes {
            waiting.stage = Stage::Unschedulable { not_before };
            if info.minds_others() {
                state.minding.insert(info.key.clone());
            }
            state.put_later(&info.key, Instant::now() + LOOK_AGAIN);
        } else {
            waiting.stage = Stage::BackingOff;
            state.put_later(&info.key, not_before);
        }
        self.wake.notify_one();
    }

    /// Something changed that may help pods that found no node.
    pub fn retry_unschedulable(&self) {
        let mut state = self.state.lock();
        state.changes += 1;
        state.minding.clear();
        let is_unschedulable =
            |(_, waiting): &(&PodKey, &Waiting)| matches!(waiting.stage, Stage::Unschedulable { .. });
        let unschedulable = state.pods.iter().filter(is_unschedulable);
        let unschedulable: Vec<_> = unschedulable.map(|(key, _)| key.clone()).collect();
        self.retry(&mut state, unschedulable);
    }

    /// Something changed that may help pods that mind others.
    pub fn retry_minding(&self) {
        let mut state = self.state.lock();
        state.changes_for_minding += 1;
        if !state.minding.is_empty() {
            let minding: Vec<_> = std::mem::take(&mut state.minding).into_iter().collect();
            self.retry(&mut state, minding);
        }
    }

    /// Those of the pods that are unschedulable become ready, at once or after their back-off.
    fn retry(&self, state: &mut State, pods: Vec<PodKey>) {
        let now = Instant::now();
        for key in &pods {
            let Some(waiting) = state.pods.get_mut(key) else { continue };
            let Stage::Unschedulable { not_before } = waiting.stage else { continue };
            if not_before <= now {
                state.make_ready(key);
            } else {
                waiting.stage = Stage::BackingOff;
                state.put_later(key, not_before);
            }
        }
        if !pods.is_empty() {
            self.wake.notify_one();
        }
    }
}

impl State {
    /// How many changes there were that could help a pod.
    fn changes_for(&self, pod: &PodInfo) -> u64 {
        self.changes + if pod.minds_others() { self.changes_for_minding } else { 0 }
    }

    fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn make_ready(&mut self, key: &PodKey) {
        let ticket = self.ticket();
        let Some(waiting) = self.pods.get_mut(key) else { return };
        waiting.stage = Stage::Ready;
        waiting.ticket = ticket;
        let created = waiting.info.pod.metadata.creation_timestamp.as_ref();
        let rank = (waiting.info.priority, Reverse(created.map(|time| time.0)), Reverse(ticket));
        self.ready.push((rank, ticket, key.clone()));
    }

    fn put_later(&mut self, key: &PodKey, at: Instant) {
        let ticket = self.ticket();
        if let Some(waiting) = self.pods.get_mut(key) {
            waiting.ticket = ticket;
            self.later.push(Reverse((at, ticket, key.clone())));
        }
    }

    fn wake_due(&mut self, now: Instant) {
        while let Some(Reverse((at, ..))) = self.later.peek() {
            // Places that are no longer anyone's are dropped early: no timer for them.
            let stale = self.later.peek().is_some_and(|Reverse((_, ticket, key))| !self.holds(key, *ticket));
            if *at > now && !stale {
                return;
            }
            let Some(Reverse((_, _, key))) = self.later.pop() else { return };
            if !stale {
                self.make_ready(&key);
            }
        }
    }

    fn holds(&self, key: &PodKey, ticket: u64) -> bool {
        self.pods.get(key).is_some_and(|waiting| waiting.ticket == ticket)
    }

    fn pop(&mut self) -> Option<Arc<PodInfo>> {
        while let Some((_, ticket, key)) = self.ready.pop() {
            let waiting = self.pods.get(&key).filter(|waiting| waiting.ticket == ticket);
            let Some(info) = waiting.map(|waiting| Arc::clone(&waiting.info)) else { continue };
            let changes = self.changes_for(&info);
            if let Some(waiting) = self.pods.get_mut(&key) {
                waiting.stage = Stage::Running { changes };
            }
            return Some(info);
        }
        None
    }
}

fn backoff(attempts: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
    BACKOFF_FIRST.saturating_mul(doubled).min(BACKOFF_LAST)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{pod_from, pod_named};

    fn prioritized(name: &str, priority: i32, created: &str) -> Arc<Pod> {
        pod_from(
            json!({"metadata": {"name": name, "creationTimestamp": created}, "spec": {"priority": priority}}),
        )
    }

    async fn name(queue: &Queue) -> String {
        queue.next().await.key.1.clone()
    }

    async fn is_idle(queue: &Queue) -> bool {
        tokio::time::timeout(Duration::ZERO, queue.next()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn priority_goes_first_then_age() {
        let queue = Queue::default();
        queue.add(&prioritized("young", 0, "2026-01-02T00:00:00Z"));
        queue.add(&prioritized("old", 0, "2026-01-01T00:00:00Z"));
        queue.add(&prioritized("urgent", 9, "2026-01-03T00:00:00Z"));
        for expected in ["urgent", "old", "young"] {
            assert_eq!(name(&queue).await, expected);
        }
        assert!(is_idle(&queue).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unschedulable_pod_waits_for_a_change_and_backs_off() {
        let queue = Queue::default();
        queue.add(&pod_named("a"));
        let info = queue.next().await;
        queue.failed(&info, true);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(is_idle(&queue).await);
        queue.retry_unschedulable();
        let info = queue.next().await;
        queue.failed(&info, true);
        queue.retry_unschedulable();
        assert!(is_idle(&queue).await, "not before its back-off of 200 ms");
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(name(&queue).await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_while_a_pod_is_decided_is_not_lost() {
        let queue = Queue::default();
        queue.add(&pod_named("a"));
        let info = queue.next().await;
        queue.retry_unschedulable();
        queue.failed(&info, true);
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(name(&queue).await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_among_the_pods_wakes_those_that_mind_others_and_no_one_else() {
        let queue = Queue::default();
        let spread = json!([{"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]);
        let minding = json!({"metadata": {"name": "minding"}, "spec": {"topologySpreadConstraints": spread}});
        queue.add(&pod_named("alone"));
        queue.add(&pod_from(minding));
        for _ in 0..2 {
            let info = queue.next().await;
            queue.failed(&info, true);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(is_idle(&queue).await);
        queue.retry_minding();
        let info = queue.next().await;
        assert_eq!(info.key.1, "minding");
        queue.retry_minding();
        queue.failed(&info, true);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert_eq!(name(&queue).await, "minding", "the change while it was decided is not lost");
        assert!(is_idle(&queue).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_spec_is_tried_at_once_and_a_changed_status_is_not() {
        let queue = Queue::default();
        queue.add(&pod_named("a"));
        let info = queue.next().await;
        queue.failed(&info, true);
        queue.add(&pod_from(json!({"metadata": {"name": "a"}, "status": {"phase": "Pending"}})));
        assert!(is_idle(&queue).await);
        queue.add(&pod_from(json!({"metadata": {"name": "a"}, "spec": {"nodeSelector": {"a": "b"}}})));
        assert_eq!(name(&queue).await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_removed_pod_does_not_come_back_and_a_new_one_of_its_name_does() {
        let queue = Queue::default();
        queue.add(&pod_named("a"));
        let info = queue.next().await;
        queue.remove(&info.key);
        queue.failed(&info, false);
        tokio::time::advance(Duration::from_secs(600)).await;
        assert!(is_idle(&queue).await);
        queue.add(&pod_from(json!({"metadata": {"name": "a", "uid": "new"}})));
        assert_eq!(queue.next().await.uid, "new");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_forgotten_even_without_a_change() {
        let queue = Queue::default();
        queue.add(&pod_named("a"));
        let info = queue.next().await;
        queue.failed(&info, true);
        assert_eq!(name(&queue).await, "a", "the paused clock runs on to the next deadline");
    }
}
