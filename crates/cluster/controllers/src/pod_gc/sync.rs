//! One round over all pods.

use super::Controller;
use crate::pods;
use hako_client::{Api, DeleteOptions, Patch};
use hako_error::Result;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::time::Instant;

impl Controller {
    pub(super) async fn sync(&self) {
        let pods = self.pods.list();
        let lost = self.lost_nodes(&pods).await;
        let of_lost = pods.iter().filter(|pod| node_of(pod).is_some_and(|node| lost.contains(node)));
        for pod in of_lost {
            self.remove(pod, Some("PodGC: node no longer exists")).await;
        }
        let never_placed =
            |pod: &&Arc<Pod>| pod.metadata.deletion_timestamp.is_some() && node_of(pod).is_none();
        for pod in pods.iter().filter(never_placed).chain(surplus(&pods, self.settings.kept)) {
            self.remove(pod, None).await;
        }
    }

    /// The nodes that pods are on and that have been gone for long enough, as the API itself says.
    async fn lost_nodes(&self, pods: &[Arc<Pod>]) -> HashSet<String> {
        let named: HashSet<&str> = pods.iter().filter_map(|pod| node_of(pod)).collect();
        let unknown: Vec<String> =
            named.into_iter().filter(|name| self.nodes.get("", name).is_none()).map(str::to_owned).collect();
        let due: Vec<String> = {
            let mut missing = self.missing.lock();
            missing.retain(|name, _| unknown.contains(name));
            let mut is_due = |name: &String| {
                let since = *missing.entry(name.clone()).or_insert_with(Instant::now);
                since.elapsed() >= self.settings.quarantine
            };
            unknown.into_iter().filter(|name| is_due(name)).collect()
        };
        let api: Api<Node> = self.client.all();
        let mut lost = HashSet::new();
        for name in due {
            if matches!(api.get_opt(&name).await, Ok(None)) {
                lost.insert(name);
            }
        }
        lost
    }

    async fn remove(&self, pod: &Pod, disruption: Option<&str>) {
        if let Err(error) = self.try_remove(pod, disruption).await {
            tracing::warn!(pod = pods::name(pod), error = %error.chain(), "pod not removed, trying again");
        }
    }

    /// Removes a pod at once. One that did not end says first that it failed, and why.
    async fn try_remove(&self, pod: &Pod, disruption: Option<&str>) -> Result<()> {
        let api: Api<Pod> = self.client.namespaced(pod.metadata.namespace.as_deref().unwrap_or_default());
        let name = pods::name(pod);
        if !is_over(pod) {
            let now = crate::conditions::now();
            let condition = disruption.map(|message| {
                json!({ "type": "DisruptionTarget", "status": "True",
                "reason": "DeletionByPodGC", "message": message, "lastTransitionTime": now })
            });
            let conditions: Vec<_> = condition.into_iter().collect();
            let patch = json!({ "metadata": { "uid": pod.metadata.uid },
                "status": { "phase": "Failed", "conditions": conditions } });
            ignore_not_found(api.patch_status(name, &Patch::Strategic(patch)).await.map(drop))?;
        }
        let options = DeleteOptions { uid: pod.metadata.uid.clone(), ..DeleteOptions::now() };
        ignore_not_found(api.delete(name, &options).await)
    }
}

fn ignore_not_found(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

fn is_over(pod: &Pod) -> bool {
    matches!(pods::phase(pod), "Succeeded" | "Failed")
}

/// Of the pods that have ended the oldest, as many as there are too many.
fn surplus(pods: &[Arc<Pod>], kept: usize) -> Vec<&Arc<Pod>> {
    let is_ended = |pod: &&Arc<Pod>| is_over(pod) && pod.metadata.deletion_timestamp.is_none();
    let mut ended: Vec<_> = pods.iter().filter(is_ended).collect();
    let age =
        |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    ended.sort_by_key(|pod| (age(pod), pods::name(pod).to_owned()));
    let count = if kept == 0 { 0 } else { ended.len().saturating_sub(kept) };
    ended.truncate(count);
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, phase: &str, second: u8) -> Arc<Pod> {
        let created = format!("2026-01-01T00:00:{second:02}Z");
        let pod = json!({ "metadata": { "name": name, "creationTimestamp": created }, "status": { "phase": phase } });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn the_oldest_that_have_ended_are_too_many() {
        let all =
            [pod("c", "Failed", 3), pod("a", "Succeeded", 1), pod("b", "Running", 0), pod("d", "Failed", 2)];
        let names =
            |kept| surplus(&all, kept).into_iter().map(|pod| pods::name(pod).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(1), ["a", "d"]);
        assert!(names(3).is_empty() && names(0).is_empty());
    }
}
