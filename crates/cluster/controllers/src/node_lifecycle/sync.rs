//! One step of a node's life.

use super::{Controller, LEASES};
use crate::wiring::Key;
use crate::{conditions, pods};
use hako_client::{Api, DeleteOptions, Patch};
use hako_error::Result;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint, Toleration};
use serde_json::json;
use std::time::{Duration, Instant};

/// A lease older than this speaks for a node that is gone.
const GRACE: Duration = Duration::from_secs(40);
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// What a node's Ready condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Ready,
    NotReady,
    Unknown,
}

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let name = key.1;
        let Some(node) = self.nodes.get("", &name) else {
            self.seen.lock().remove(&name);
            self.troubled.lock().remove(&name);
            return Ok(None);
        };
        let silent = self.silence(&name);
        let api: Api<Node> = self.client.all();
        let mut health = health(&node);
        if silent > GRACE && health != Health::Unknown {
            api.patch_status(
                &name,
                &Patch::Strategic(json!({ "status": { "conditions": lost_conditions(&node) } })),
            )
            .await?;
            self.events.normal(&*node, "NodeNotReady", &format!("Node {name} status is now: NodeNotReady"));
            health = Health::Unknown;
        }
        if let Some(taints) = retaint(&node, health) {
            api.patch(&name, &Patch::Merge(json!({ "metadata": { "resourceVersion": node.metadata.resource_version }, "spec": { "taints": taints } }))).await?;
        }
        if health == Health::Ready {
            self.troubled.lock().remove(&name);
            return Ok(Some(GRACE.saturating_sub(silent) + Duration::from_millis(100)));
        }
        let since = *self.troubled.lock().entry(name.clone()).or_insert_with(Instant::now);
        self.evict(&name, health, since.elapsed()).await.map(Some)
    }

    /// How long the node's lease has not been renewed, by this process's clock.
    fn silence(&self, name: &str) -> Duration {
        let renewed = self.leases.get(LEASES, name).and_then(|lease| lease.spec.as_ref()?.renew_time.clone());
        let renewed = renewed.map(|time| time.0.to_string()).unwrap_or_default();
        let mut seen = self.seen.lock();
        let entry = seen.entry(name.to_owned()).or_insert_with(|| (renewed.clone(), Instant::now()));
        if entry.0 != renewed {
            *entry = (renewed, Instant::now());
        }
        entry.1.elapsed()
    }

    /// Marks the node's pods not Ready and evicts those whose toleration is over; gives when to look again.
    async fn evict(&self, name: &str, health: Health, troubled: Duration) -> Result<Duration> {
        let mut next = Duration::from_secs(5);
        let on_node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(name);
        for pod in self
            .pods
            .list()
            .into_iter()
            .filter(|pod| on_node(pod) && pod.metadata.deletion_timestamp.is_none())
        {
            let api: Api<Pod> = self.client.namespaced(pod.metadata.namespace.as_deref().unwrap_or_default());
            if health == Health::Unknown && pods::is_ready(&pod) {
                let condition =
                    json!({ "type": "Ready", "status": "False", "lastTransitionTime": conditions::now() });
                api.patch_status(
                    pods::name(&pod),
                    &Patch::Strategic(json!({ "status": { "conditions": [condition] } })),
                )
                .await?;
            }
            let taint = taint(if health == Health::Unknown { UNREACHABLE } else { NOT_READY }, "NoExecute");
            match remaining(&pod, &taint, troubled) {
                Some(Duration::ZERO) => {
                    self.events.normal(
                        &*pod,
                        "TaintManagerEviction",
                        &format!(
                            "Marking for deletion Pod {}/{}",
                            pod.metadata.namespace.as_deref().unwrap_or_default(),
                            pods::name(&pod)
                        ),
                    );
                    let options = DeleteOptions { uid: pod.metadata.uid.clone(), ..DeleteOptions::default() };
                    match api.delete(pods::name(&pod), &options).await {
                        Err(error) if !error.is_not_found() => return Err(error),
                        _ => {}
                    }
                }
                Some(left) => next = next.min(left),
                None => {}
            }
        }
        Ok(next)
    }
}

fn health(node: &Node) -> Health {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    match conditions
        .into_iter()
        .find(|condition| condition.type_ == "Ready")
        .map(|condition| condition.status.as_str())
    {
        Some("True") => Health::Ready,
        Some("False") | None => Health::NotReady,
        Some(_) => Health::Unknown,
    }
}

fn lost_conditions(node: &Node) -> Vec<NodeCondition> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let lost = |condition: &NodeCondition| NodeCondition {
        status: "Unknown".into(),
        reason: Some("NodeStatusUnknown".into()),
        message: Some("Kubelet stopped posting node status.".into()),
        last_transition_time: Some(conditions::now()),
        ..condition.clone()
    };
    conditions.into_iter().map(lost).collect()
}

fn taint(key: &str, effect: &str) -> Taint {
    Taint { key: key.into(), effect: effect.into(), value: None, time_added: None }
}

/// The taints the node should have where they differ from those it has.
fn retaint(node: &Node, health: Health) -> Option<Vec<Taint>> {
    let present = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let wanted_key = match health {
        Health::Ready => None,
        Health::NotReady => Some(NOT_READY),
        Health::Unknown => Some(UNREACHABLE),
    };
    let is_ours = |taint: &Taint| taint.key == NOT_READY || taint.key == UNREACHABLE;
    let mut wanted: Vec<Taint> = present.iter().filter(|taint| !is_ours(taint)).cloned().collect();
    for effect in ["NoSchedule", "NoExecute"] {
        let Some(key) = wanted_key else { break };
        let there = present.iter().find(|taint| taint.key == key && taint.effect == effect).cloned();
        wanted.push(there.unwrap_or_else(|| Taint {
            time_added: (effect == "NoExecute").then(conditions::now),
            ..taint(key, effect)
        }));
    }
    (wanted.len() != present.len() || wanted.iter().any(|taint| !present.contains(taint))).then_some(wanted)
}

/// How much longer the pod tolerates the taint; `None` is for ever.
fn remaining(pod: &Pod, taint: &Taint, troubled: Duration) -> Option<Duration> {
    let all = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let matching: Vec<&Toleration> = all.iter().filter(|toleration| tolerates(toleration, taint)).collect();
    if matching.is_empty() {
        return Some(Duration::ZERO);
    }
    let limits = matching.iter().filter_map(|toleration| toleration.toleration_seconds);
    let limit = limits.min()?;
    Some(Duration::from_secs(u64::try_from(limit).unwrap_or(0)).saturating_sub(troubled))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value_matches = exists
        || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && (key == taint.key || key.is_empty() && exists)
        && value_matches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str, taints: serde_json::Value) -> Node {
        serde_json::from_value(json!({ "metadata": { "name": "n" }, "spec": { "taints": taints }, "status": { "conditions": [{ "type": "Ready", "status": ready }] } })).unwrap()
    }

    #[test]
    fn taints_follow_health_and_leave_others_alone() {
        let other = json!([{ "key": "mine", "effect": "NoSchedule" }]);
        let lost = retaint(&node("Unknown", other.clone()), Health::Unknown).unwrap();
        assert_eq!(
            lost.iter().map(|taint| taint.key.as_str()).collect::<Vec<_>>(),
            ["mine", UNREACHABLE, UNREACHABLE]
        );
        let tainted = node("True", serde_json::to_value(&lost).unwrap());
        assert_eq!(retaint(&tainted, Health::Ready).unwrap().len(), 1);
        assert_eq!(retaint(&node("True", other), Health::Ready), None);
    }

    #[test]
    fn a_pod_stays_as_long_as_it_tolerates() {
        let pod: Pod = serde_json::from_value(json!({ "metadata": {}, "spec": { "containers": [], "tolerations": [{ "key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }] } })).unwrap();
        let taint = taint(UNREACHABLE, "NoExecute");
        assert_eq!(remaining(&pod, &taint, Duration::from_secs(100)), Some(Duration::from_secs(200)));
        assert_eq!(remaining(&pod, &taint, Duration::from_secs(400)), Some(Duration::ZERO));
        assert_eq!(
            remaining(&Pod { spec: Some(Default::default()), ..Pod::default() }, &taint, Duration::ZERO),
            Some(Duration::ZERO)
        );
    }
}
