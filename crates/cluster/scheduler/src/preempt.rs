//! Room for a pod that fits nowhere, at the cost of pods of lower priority.
//!
//! Owns: which node, and whose leaving makes the room. Budgets (`PodDisruptionBudget`) are not looked at.
//! Does not own: their leaving (see [`carry_out`] for what is asked of the API) and the room meanwhile (see
//! `nominations`).

use std::collections::BTreeMap;
use std::sync::Arc;

use hako_client::{DeleteOptions, Patch};
use hako_error::{Kind, Result};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::cache::Cache;
use crate::filters::first_refusal;
use crate::others::Others;
use crate::pod_info::PodInfo;
use crate::scheduler::Shared;

/// So many nodes that would do are enough to choose from.
const MOST_CANDIDATES: usize = 100;

/// Who has to leave which node.
#[derive(Debug)]
pub struct Preemption {
    pub node: String,
    /// The most important first.
    pub victims: Vec<Arc<PodInfo>>,
}

impl Preemption {
    /// The smallest harm is the best: to less important pods, and to fewer.
    fn harm(&self) -> (i32, i64, usize, &str) {
        let highest = self.victims.first().map_or(i32::MIN, |victim| victim.priority);
        let sum = self.victims.iter().map(|victim| i64::from(victim.priority)).sum();
        (highest, sum, self.victims.len(), &self.node)
    }
}

/// Finds the node where a pod would fit if the fewest and least important pods left. The cache is the same afterwards.
pub fn find(pod: &PodInfo, cache: &mut Cache) -> Option<Preemption> {
    let never = pod.spec().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never");
    if never || cache.lowest_priority().is_none_or(|lowest| lowest >= pod.priority) {
        return None;
    }
    let lower = cache.below(pod.priority);
    let nodes: Vec<String> = cache.nodes().map(|node| node.name.clone()).collect();
    let mut candidates = Vec::new();
    for node in nodes {
        let Some(pods) = lower.get(&node) else { continue };
        if let Some(victims) = victims(pod, cache, &node, pods) {
            candidates.push(Preemption { node, victims });
        }
        if candidates.len() == MOST_CANDIDATES {
            break;
        }
    }
    candidates.into_iter().min_by(|one, other| one.harm().cmp(&other.harm()))
}

/// Whether a pod is still waiting for those that leave the node it was nominated for.
pub fn is_under_way(pod: &PodInfo, cache: &Cache) -> bool {
    let Some(node) = cache.nominations.node_of(&pod.key) else { return false };
    let leaving = |other: &Arc<PodInfo>| {
        other.likeness.is_terminating || cache.nominations.is_victim_of(&pod.key, &other.uid)
    };
    cache.below(pod.priority).get(node).is_some_and(|pods| pods.iter().any(leaving))
}

/// Which of the pods have to leave, if that helps: all go, then as many come back as fit, the most important first.
fn victims(
    pod: &PodInfo,
    cache: &mut Cache,
    node: &str,
    lower: &[Arc<PodInfo>],
) -> Option<Vec<Arc<PodInfo>>> {
    let gone: Vec<_> = lower.iter().filter_map(|info| cache.take(&info.key)).collect();
    let helps = fits(pod, cache, node);
    let (mut victims, mut staying_away) = (Vec::new(), Vec::new());
    for placed in gone {
        let info = Arc::clone(&placed.info);
        cache.put_back(placed);
        if helps && !fits(pod, cache, node) {
            staying_away.extend(cache.take(&info.key));
            victims.push(info);
        }
    }
    for placed in staying_away {
        cache.put_back(placed);
    }
    (!victims.is_empty()).then_some(victims)
}

fn fits(pod: &PodInfo, cache: &Cache, name: &str) -> bool {
    let others = Others::of(pod, cache);
    cache
        .node_named(name)
        .is_some_and(|node| first_refusal(pod, &others, &cache.nominations.bar(pod, node)).is_empty())
}

/// Pods of one priority: who came first is more important.
pub fn by_importance(pods: &mut BTreeMap<String, Vec<Arc<PodInfo>>>) {
    let started = |info: &PodInfo| {
        let status = info.pod.status.as_ref();
        status.and_then(|status| status.start_time.as_ref()).map(|time| time.0)
    };
    for pods in pods.values_mut() {
        pods.sort_by_key(|info| {
            let started = started(info);
            (std::cmp::Reverse(info.priority), started.is_none(), started, info.key.clone())
        });
    }
}

/// Says for whom the pod waits and asks the victims to leave. If that fails, all is tried anew.
pub async fn carry_out(shared: Arc<Shared>, pod: Arc<PodInfo>, preemption: Preemption) {
    let Ok(_permit) = Arc::clone(&shared.calls).acquire_owned().await else { return };
    if let Err(error) = ask_to_leave(&shared, &pod, &preemption).await {
        let (namespace, name) = &pod.key;
        tracing::warn!(pod = %format!("{namespace}/{name}"), node = preemption.node, error = %error.chain(), "preemption failed, trying again");
        shared.cache.lock().nominations.remove(&pod.key);
        shared.queue.retry_unschedulable();
    }
}

async fn ask_to_leave(shared: &Shared, pod: &PodInfo, preemption: &Preemption) -> Result<()> {
    nominate(shared, pod, Some(&preemption.node)).await?;
    let staying = preemption.victims.iter().filter(|victim| !victim.likeness.is_terminating);
    for victim in staying {
        let (namespace, name) = &victim.key;
        let api = shared.client.namespaced::<Pod>(namespace);
        let options = DeleteOptions { uid: Some(victim.uid.clone()), ..DeleteOptions::default() };
        let asked = match api.patch_status(name, &disrupted(shared, victim)).await {
            Ok(_) => api.delete(name, &options).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(()) => {
                let message = format!("Preempted by pod {} on node {}", pod.uid, preemption.node);
                shared.recorder.normal(&*victim.pod, "Preempted", &message);
            }
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes the node that the pod waits for, or that it waits for none any more.
pub async fn nominate(shared: &Shared, pod: &PodInfo, node: Option<&str>) -> Result<()> {
    let (namespace, name) = &pod.key;
    let patch = json!({"metadata": {"uid": pod.uid}, "status": {"nominatedNodeName": node}});
    shared.client.namespaced::<Pod>(namespace).patch_status(name, &Patch::Strategic(patch)).await.map(drop)
}

fn disrupted(shared: &Shared, victim: &PodInfo) -> Patch {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Patch::Strategic(json!({
        "metadata": {"uid": victim.uid},
        "status": {"conditions": [{
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": format!("{}: preempting to accommodate a higher priority pod", shared.name),
            "lastProbeTime": null,
            "lastTransitionTime": now,
        }]},
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::choose::{Turn, choose};
    use crate::testing::{bound, node, node_from, pod_from};

    /// A pod of a priority that asks for cpu, with what is given on top of its spec.
    fn pod(name: &str, priority: i32, cpu: &str, extra: &Value) -> Arc<Pod> {
        let mut spec = json!({"priority": priority, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]});
        for (key, value) in extra.as_object().unwrap() {
            spec[key] = value.clone();
        }
        pod_from(json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec}))
    }

    fn cluster(nodes: &[&str], pods: &[(&str, i32, &str, &str)]) -> Cache {
        let mut cache = Cache::default();
        for name in nodes {
            cache.set_node(node(name, "4", "8Gi"));
        }
        for (name, priority, cpu, on) in pods {
            cache.apply(&bound(pod(name, *priority, cpu, &json!({})), on));
        }
        cache
    }

    fn info(name: &str, priority: i32, cpu: &str, extra: &Value) -> Arc<PodInfo> {
        Arc::new(PodInfo::new(pod(name, priority, cpu, extra)))
    }

    /// The node and who has to leave it.
    fn found(cache: &mut Cache, pod: &PodInfo) -> Option<(String, Vec<String>)> {
        let preemption = find(pod, cache)?;
        let names = preemption.victims.iter().map(|victim| victim.key.1.clone());
        Some((preemption.node.clone(), names.collect()))
    }

    fn leave(node: &str, names: &[&str]) -> Option<(String, Vec<String>)> {
        Some((node.to_owned(), names.iter().map(|name| (*name).to_owned()).collect()))
    }

    #[test]
    fn only_as_many_leave_as_have_to_and_the_most_important_stay() {
        let pods = [("low", 1, "1", "a"), ("lower", 0, "1", "a"), ("mid", 5, "2", "a")];
        let mut cache = cluster(&["a"], &pods);
        assert_eq!(found(&mut cache, &info("p", 10, "1", &json!({}))), leave("a", &["lower"]));
        assert_eq!(found(&mut cache, &info("p", 10, "2", &json!({}))), leave("a", &["low", "lower"]));
        assert_eq!(found(&mut cache, &info("p", 10, "4", &json!({}))), leave("a", &["mid", "low", "lower"]));
        assert_eq!(cache.node("a").pods, 3, "nobody has left yet");
        assert_eq!(cache.neighbours.all().count(), 3);
    }

    #[test]
    fn nobody_leaves_for_an_equal_for_one_who_never_asks_or_for_one_whom_it_would_not_help() {
        let mut cache = cluster(&["a"], &[("there", 5, "4", "a")]);
        assert_eq!(found(&mut cache, &info("p", 5, "1", &json!({}))), None);
        assert_eq!(found(&mut cache, &info("p", 9, "1", &json!({"preemptionPolicy": "Never"}))), None);
        assert_eq!(found(&mut cache, &info("p", 9, "5", &json!({}))), None);
        assert_eq!(found(&mut cache, &info("p", 9, "1", &json!({"nodeSelector": {"disk": "ssd"}}))), None);
        assert_eq!(found(&mut cache, &info("p", 9, "1", &json!({}))), leave("a", &["there"]));
    }

    #[test]
    fn the_node_where_the_least_important_have_to_leave_is_chosen() {
        let pods = [("a1", 3, "4", "a"), ("b1", 1, "2", "b"), ("b2", 1, "2", "b"), ("c1", 2, "4", "c")];
        let mut cache = cluster(&["a", "b", "c"], &pods);
        assert_eq!(found(&mut cache, &info("p", 9, "4", &json!({}))), leave("b", &["b1", "b2"]));
        assert_eq!(found(&mut cache, &info("p", 3, "4", &json!({}))), leave("b", &["b1", "b2"]));
        let mut cache =
            cluster(&["a", "b"], &[("a1", 1, "4", "a"), ("b1", 1, "2", "b"), ("b2", 1, "2", "b")]);
        assert_eq!(found(&mut cache, &info("p", 9, "4", &json!({}))), leave("a", &["a1"]), "fewer");
    }

    #[test]
    fn one_whom_the_pod_has_to_be_far_from_leaves_as_well() {
        let mut cache = Cache::default();
        cache.set_node(node_from("a", json!({"metadata": {"labels": {"host": "a"}}})));
        for name in ["noisy", "quiet"] {
            cache.apply(&bound(pod(name, 0, "1", &json!({})), "a"));
        }
        let term = json!({"topologyKey": "host", "labelSelector": {"matchLabels": {"app": "noisy"}}});
        let far = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
        assert_eq!(found(&mut cache, &info("p", 9, "1", &far)), leave("a", &["noisy"]));
    }

    #[test]
    fn the_room_that_is_made_waits_for_whom_it_is_made_and_for_no_lesser_one() {
        let mut cache = cluster(&["a"], &[("low", 0, "4", "a")]);
        let urgent = info("urgent", 9, "4", &json!({}));
        let victims = HashSet::from(["uid-low".to_owned()]);
        cache.nominations.set("a", Arc::clone(&urgent), victims);
        assert!(is_under_way(&urgent, &cache), "low has yet to leave");
        cache.remove(&("default".to_owned(), "low".to_owned()));
        assert!(!is_under_way(&urgent, &cache));
        let mut turn = Turn::default();
        let mut goes = |pod: &PodInfo, cache: &Cache| choose(pod, cache, &mut turn).ok();
        assert_eq!(goes(&info("again", 0, "1", &json!({})), &cache), None);
        assert_eq!(goes(&info("peer", 9, "1", &json!({})), &cache), None);
        assert_eq!(goes(&info("higher", 10, "1", &json!({})), &cache).as_deref(), Some("a"));
        assert_eq!(goes(&urgent, &cache).as_deref(), Some("a"));
        cache.assume("a", urgent);
        assert_eq!(cache.nominations.node_of(&("default".to_owned(), "urgent".to_owned())), None);
    }
}
