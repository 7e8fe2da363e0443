//! One step of a ReplicaSet or ReplicationController.

use super::Controller;
use super::replicator::Replicator;
use crate::wiring::{Key, is_controlled_by, is_orphan};
use crate::{conditions, pods};
use futures::future::join_all;
use hako_client::{Api, DeleteOptions, Patch};
use hako_error::{Error, Result};
use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

/// The first batch of creations; each that succeeds doubles the next, so that a refusal is met once, not 500 times.
const FIRST_BATCH: usize = 4;
const MAX_BATCH: usize = 64;

impl<S: Replicator> Controller<S> {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let Some(set) = self.sets.get(&key.0, &key.1) else {
            return Ok(None);
        };
        let uid = set.metadata().uid.clone().unwrap_or_default();
        if set.metadata().deletion_timestamp.is_some() {
            self.expectations.forget(&uid);
            return Ok(None);
        }
        let api: Api<Pod> = self.client.namespaced(&key.0);
        let all = self.pods.list_in(&key.0);
        self.claim(&set, &uid, &all, &api).await?;
        let owned: Vec<Arc<Pod>> = all.into_iter().filter(|pod| is_controlled_by(&**pod, &uid)).collect();
        let active: Vec<Arc<Pod>> = owned.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
        let is_in = |pods: &[Arc<Pod>], name: &str| pods.iter().any(|pod| pods::name(pod) == name);
        let (coming, gone) =
            self.expectations.settle(&uid, |name| is_in(&owned, name), |name| is_in(&active, name));
        let staying: Vec<Arc<Pod>> =
            active.iter().filter(|pod| !gone.iter().any(|name| name == pods::name(pod))).cloned().collect();
        let wanted = usize::try_from(set.replicas()).unwrap_or(0);
        let have = staying.len() + coming;
        let (reason, done) = if have < wanted {
            ("FailedCreate", self.create(&set, &uid, wanted - have, &api).await)
        } else {
            ("FailedDelete", self.delete(&set, &uid, victims(&staying, have - wanted), &api).await)
        };
        let failure = done.as_ref().err().map(|error| (reason, error.chain().to_string()));
        let wait = self.report(&set, failure, &owned, &active, &key).await?;
        done?;
        Ok(wait)
    }

    /// Adopts orphans that match, releases own pods that match no longer.
    async fn claim(&self, set: &S, uid: &str, all: &[Arc<Pod>], api: &Api<Pod>) -> Result<()> {
        for pod in all {
            let matches = selects(set, pod);
            let patch = if matches && is_orphan(&**pod) && pods::is_active(pod) {
                json!({ "metadata": { "uid": pod.metadata.uid, "ownerReferences": [owner_reference(set)] } })
            } else if !matches && is_controlled_by(&**pod, uid) {
                json!({ "metadata": { "uid": pod.metadata.uid, "ownerReferences": [{ "$patch": "delete", "uid": uid }] } })
            } else {
                continue;
            };
            ignore_not_found(api.patch(pods::name(pod), &Patch::Strategic(patch)).await.map(drop))?;
        }
        Ok(())
    }

    async fn create(&self, set: &S, uid: &str, mut missing: usize, api: &Api<Pod>) -> Result<()> {
        let template = pod_of(set);
        let mut batch = FIRST_BATCH;
        while missing > 0 {
            let count = batch.min(missing);
            let created = join_all((0..count).map(|_| api.create(&template))).await;
            let mut failure = None;
            for one in created {
                match one {
                    Ok(pod) => {
                        self.expectations.created(uid, pods::name(&pod));
                        self.events.normal(
                            set,
                            "SuccessfulCreate",
                            &format!("Created pod: {}", pods::name(&pod)),
                        );
                    }
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = failure {
                self.events.warning(set, "FailedCreate", &format!("Error creating: {}", error.chain()));
                return Err(error);
            }
            missing -= count;
            batch = (batch * 2).min(MAX_BATCH);
        }
        Ok(())
    }

    async fn delete(&self, set: &S, uid: &str, victims: Vec<Arc<Pod>>, api: &Api<Pod>) -> Result<()> {
        let deletions = victims.iter().map(async |pod| {
            let options = DeleteOptions { uid: pod.metadata.uid.clone(), ..DeleteOptions::default() };
            self.expectations.deleted(uid, pods::name(pod));
            match ignore_not_found(api.delete(pods::name(pod), &options).await) {
                Ok(()) => {
                    self.events.normal(set, "SuccessfulDelete", &format!("Deleted pod: {}", pods::name(pod)));
                    Ok(())
                }
                Err(error) => Err(error),
            }
        });
        join_all(deletions).await.into_iter().collect()
    }

    /// Writes the status where it differs; gives when a pod becomes available next.
    async fn report(
        &self,
        set: &S,
        failure: Option<(&str, String)>,
        owned: &[Arc<Pod>],
        active: &[Arc<Pod>],
        key: &Key,
    ) -> Result<Option<Duration>> {
        let (mut status, wait) = status(set, owned, active, Timestamp::now());
        set_failure(&mut status, failure);
        if set.status().as_ref() != Some(&status) {
            let mut changed = set.clone();
            changed.set_status(status);
            let api: Api<S> = self.client.namespaced(&key.0);
            ignore_not_found(api.replace_status(&key.1, &changed).await.map(drop))?;
        }
        Ok(wait)
    }
}

fn ignore_not_found(result: Result<(), Error>) -> Result<()> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// Whether the set's selector matches the pod's labels.
pub(super) fn selects<S: Replicator>(set: &S, pod: &Pod) -> bool {
    set.selector().is_some_and(|selector| selector.matches_opt(pod.metadata.labels.as_ref()))
}

fn owner_reference<S: Replicator>(set: &S) -> OwnerReference {
    OwnerReference {
        api_version: S::API_VERSION.into(),
        kind: S::KIND.into(),
        name: set.metadata().name.clone().unwrap_or_default(),
        uid: set.metadata().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn pod_of<S: Replicator>(set: &S) -> Pod {
    let template = set.template().cloned().unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.metadata().name.as_deref().unwrap_or_default())),
            namespace: set.metadata().namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner_reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The pods that are missed least: not placed before placed, not running before running, not Ready before Ready,
/// cheap before dear, crowded nodes before others, younger before older, restarted before steady.
fn victims(active: &[Arc<Pod>], count: usize) -> Vec<Arc<Pod>> {
    let mut ranked = active.to_vec();
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let neighbours = |pod: &Pod| active.iter().filter(|other| node(other) == node(pod)).count();
    ranked.sort_by_cached_key(|pod| {
        let phase = match pods::phase(pod) {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        };
        let cost = pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get("controller.kubernetes.io/pod-deletion-cost")?.parse::<i32>().ok());
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (
            !node(pod).is_empty(),
            phase,
            pods::is_ready(pod),
            cost.unwrap_or(0),
            Reverse(neighbours(pod)),
            Reverse(pods::restarts(pod)),
            Reverse(pods::ready_since(pod)),
            Reverse(created),
            pods::name(pod).to_owned(),
        )
    });
    ranked.truncate(count);
    ranked
}

fn status<S: Replicator>(
    set: &S,
    owned: &[Arc<Pod>],
    active: &[Arc<Pod>],
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Duration>) {
    let min_ready = set.min_ready_seconds();
    let template = set.template().and_then(|template| template.metadata.as_ref());
    let template_labels = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let has_all_labels = |pod: &Pod| {
        let labels = pod.metadata.labels.as_ref();
        template_labels.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    };
    let mut wait: Option<Duration> = None;
    let mut available = 0;
    for pod in active {
        match pods::availability(pod, min_ready, now) {
            Ok(()) => available += 1,
            Err(due) => wait = [wait, due].into_iter().flatten().min(),
        }
    }
    let count = |is: &dyn Fn(&Pod) -> bool| {
        i32::try_from(active.iter().filter(|pod| is(pod)).count()).unwrap_or(i32::MAX)
    };
    let terminating = owned.iter().filter(|pod| {
        pod.metadata.deletion_timestamp.is_some() && !matches!(pods::phase(pod), "Succeeded" | "Failed")
    });
    let status = ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: Some(count(&has_all_labels)),
        ready_replicas: Some(count(&pods::is_ready)),
        available_replicas: Some(available),
        terminating_replicas: S::COUNTS_TERMINATING
            .then(|| i32::try_from(terminating.count()).unwrap_or(i32::MAX)),
        observed_generation: set.metadata().generation,
        conditions: set.status().and_then(|status| status.conditions),
    };
    // Zeroes are left out in what the API gives back.
    (normalize(status), wait)
}

/// Says that pods cannot be made or deleted for as long as that is so. What was said first stays: messages name pods
/// that were never made, so that each attempt's is another.
fn set_failure(status: &mut ReplicaSetStatus, failure: Option<(&str, String)>) {
    let is_failure = |condition: &ReplicaSetCondition| condition.type_ == conditions::REPLICA_FAILURE;
    match failure {
        None => {
            status.conditions.iter_mut().for_each(|all| all.retain(|condition| !is_failure(condition)));
            status.conditions = status.conditions.take().filter(|all| !all.is_empty());
        }
        Some(_) if status.conditions.iter().flatten().any(is_failure) => {}
        Some((reason, message)) => status.conditions.get_or_insert_default().push(ReplicaSetCondition {
            type_: conditions::REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(conditions::now()),
        }),
    }
}

fn normalize(mut status: ReplicaSetStatus) -> ReplicaSetStatus {
    for field in
        [&mut status.fully_labeled_replicas, &mut status.ready_replicas, &mut status.available_replicas]
    {
        *field = field.filter(|count| *count != 0);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::ReplicaSet;
    use serde_json::Value;

    fn pod(name: &str, ready: bool, node: &str) -> Arc<Pod> {
        let conditions = json!([{ "type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
        let value = json!({ "metadata": { "name": name, "labels": { "a": "b" } }, "spec": { "nodeName": node, "containers": [] }, "status": { "phase": if node.is_empty() { "Pending" } else { "Running" }, "conditions": conditions } });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn set(extra: Value) -> ReplicaSet {
        let mut value = json!({ "metadata": { "name": "s", "uid": "u", "generation": 3 }, "spec": { "replicas": 2, "selector": { "matchLabels": { "a": "b" } }, "template": { "metadata": { "labels": { "a": "b" } } } } });
        value["spec"].as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn those_missed_least_go_first() {
        let pods = [pod("ready", true, "n"), pod("unready", false, "n"), pod("unplaced", false, "")];
        let names: Vec<String> = victims(&pods, 2).iter().map(|pod| pods::name(pod).to_owned()).collect();
        assert_eq!(names, ["unplaced", "unready"]);
    }

    #[test]
    fn a_pod_is_available_only_after_its_minimum() {
        let now: Timestamp = "2026-01-01T00:00:04Z".parse().unwrap();
        let pods = [pod("p", true, "n")];
        let (status, wait) = status(&set(json!({ "minReadySeconds": 10 })), &pods, &pods, now);
        assert_eq!((status.ready_replicas, status.available_replicas), (Some(1), None));
        assert_eq!(wait, Some(Duration::from_secs(6)));
    }

    #[test]
    fn a_failure_is_said_once_and_taken_back() {
        let (mut status, _) = status(&set(json!({})), &[], &[], Timestamp::UNIX_EPOCH);
        let clean = status.clone();
        set_failure(&mut status, Some(("FailedCreate", "pods \"s-abcde\" is forbidden".into())));
        let first = status.clone();
        set_failure(&mut status, Some(("FailedCreate", "pods \"s-fghij\" is forbidden".into())));
        assert_eq!(status, first);
        let condition = &status.conditions.as_ref().unwrap()[0];
        assert_eq!(
            (condition.type_.as_str(), condition.reason.as_deref()),
            ("ReplicaFailure", Some("FailedCreate"))
        );
        set_failure(&mut status, None);
        assert_eq!(status, clean);
    }

    #[test]
    fn pods_are_made_from_the_template_and_owned() {
        let pod = pod_of(&set(json!({})));
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("s-"));
        assert!(is_controlled_by(&pod, "u"));
        assert!(selects(&set(json!({})), &pod));
    }
}
