//! What a Deployment's status says. Pure.

use super::rolling::Limits;
use crate::conditions::REPLICA_FAILURE;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;

const PROGRESSING: &str = "Progressing";

/// The status drawn from the ReplicaSets, and when the progress deadline will pass.
pub(super) fn status(
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    all: &[Arc<ReplicaSet>],
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let before = deployment.status.clone().unwrap_or_default();
    let sum = |of: &dyn Fn(&ReplicaSet) -> i32| all.iter().map(|set| of(set)).sum::<i32>();
    let wanted = sum(&|set| set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0));
    let replicas = sum(&|set| set.status.as_ref().map_or(0, |status| status.replicas));
    let ready = sum(&|set| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0));
    let available = sum(&|set| set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0));
    let terminating =
        sum(&|set| set.status.as_ref().and_then(|status| status.terminating_replicas).unwrap_or(0));
    let updated = new.and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas);
    let some = |count: i32| Some(count).filter(|count| *count != 0);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(replicas),
        updated_replicas: some(updated),
        ready_replicas: some(ready),
        available_replicas: some(available),
        unavailable_replicas: some((wanted - available).max(0)),
        terminating_replicas: some(terminating),
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
    };
    let limits = Limits::of(deployment);
    let is_available = available >= limits.replicas - limits.unavailable;
    let (state, reason, message) = if is_available {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set_condition(&mut status, "Available", state, reason, message, now);
    copy_failure(&mut status, new, all);
    let wait = progress(deployment, new, &before, &mut status, now);
    (status, wait)
}

/// Shows why a ReplicaSet cannot make its pods, the new one's reason first, for as long as it says so.
fn copy_failure(status: &mut DeploymentStatus, new: Option<&Arc<ReplicaSet>>, all: &[Arc<ReplicaSet>]) {
    let failure = |set: &Arc<ReplicaSet>| {
        let conditions = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().find(|one| one.type_ == REPLICA_FAILURE && one.status == "True").cloned()
    };
    match new.into_iter().chain(all).find_map(failure) {
        Some(failed) => {
            let at = failed.last_transition_time.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
            let (reason, message) = (failed.reason.unwrap_or_default(), failed.message.unwrap_or_default());
            set_condition(status, REPLICA_FAILURE, "True", &reason, &message, at);
        }
        None => {
            let all = status.conditions.iter_mut();
            all.for_each(|all| all.retain(|condition| condition.type_ != REPLICA_FAILURE));
        }
    }
}

/// Says whether the rollout moves, is done, or stands still for too long; gives when that would be.
fn progress(
    deployment: &Deployment,
    new: Option<&Arc<ReplicaSet>>,
    before: &DeploymentStatus,
    status: &mut DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let spec = deployment.spec.clone().unwrap_or_default();
    let subject = subject(deployment, new);
    if spec.paused == Some(true) {
        set_condition(status, PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused", now);
        return None;
    }
    if is_complete(status, spec.replicas.unwrap_or(1)) {
        let message = format!("{subject} has successfully progressed.");
        set_condition(status, PROGRESSING, "True", "NewReplicaSetAvailable", &message, now);
        return None;
    }
    let is_new = status.conditions.iter().flatten().all(|condition| condition.type_ != PROGRESSING);
    if is_new || has_moved(before, status) {
        set_condition(
            status,
            PROGRESSING,
            "True",
            "ReplicaSetUpdated",
            &format!("{subject} is progressing."),
            now,
        );
        touch(status, PROGRESSING, now);
    }
    let limit = i64::from(spec.progress_deadline_seconds.unwrap_or(600));
    let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == PROGRESSING)?;
    // A finished rollout whose pods fail later is not a rollout that is stuck.
    if matches!(condition.reason.as_deref(), Some("NewReplicaSetAvailable" | "ProgressDeadlineExceeded")) {
        return None;
    }
    let since = condition.last_update_time.as_ref().map_or(now, |time| time.0);
    let due = since.saturating_add(SignedDuration::from_secs(limit)).unwrap_or(since);
    if due <= now {
        let message = format!("{subject} has timed out progressing.");
        set_condition(status, PROGRESSING, "False", "ProgressDeadlineExceeded", &message, now);
        return None;
    }
    Duration::try_from(now.duration_until(due)).ok()
}

fn subject(deployment: &Deployment, new: Option<&Arc<ReplicaSet>>) -> String {
    match new.and_then(|set| set.metadata.name.as_deref()) {
        Some(set) => format!("ReplicaSet \"{set}\""),
        None => format!("Deployment \"{}\"", deployment.metadata.name.as_deref().unwrap_or_default()),
    }
}

fn is_complete(status: &DeploymentStatus, wanted: i32) -> bool {
    let counts = [status.updated_replicas, status.replicas, status.available_replicas];
    counts.iter().all(|count| count.unwrap_or(0) == wanted)
}

fn has_moved(before: &DeploymentStatus, status: &DeploymentStatus) -> bool {
    status.updated_replicas > before.updated_replicas
        || status.ready_replicas > before.ready_replicas
        || status.available_replicas > before.available_replicas
        || old_replicas(status) < old_replicas(before)
        || before.observed_generation != status.observed_generation
}

fn old_replicas(status: &DeploymentStatus) -> i32 {
    status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0)
}

fn touch(status: &mut DeploymentStatus, kind: &str, now: Timestamp) {
    for condition in status.conditions.iter_mut().flatten().filter(|condition| condition.type_ == kind) {
        condition.last_update_time = Some(seconds(now));
    }
}

fn seconds(at: Timestamp) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// Times move only with the status or the reason.
pub(super) fn set_condition(
    status: &mut DeploymentStatus,
    kind: &str,
    state: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let all = status.conditions.get_or_insert_default();
    let old = all.iter().position(|condition| condition.type_ == kind);
    let mut condition = DeploymentCondition {
        type_: kind.to_owned(),
        status: state.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(seconds(now)),
        last_transition_time: Some(seconds(now)),
    };
    match old.map(|index| &mut all[index]) {
        Some(old) if old.status == state && old.reason.as_deref() == Some(reason) => {
            old.message = condition.message
        }
        Some(old) => {
            if old.status == state {
                condition.last_transition_time.clone_from(&old.last_transition_time);
            }
            *old = condition;
        }
        None => all.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Deployment {
        serde_json::from_value(json!({ "metadata": { "name": "d", "generation": 1 }, "spec": { "replicas": 2, "progressDeadlineSeconds": 60, "selector": {}, "template": {} } })).unwrap()
    }

    fn set(wanted: i32, available: i32) -> Arc<ReplicaSet> {
        let value = json!({ "metadata": { "name": "s" }, "spec": { "replicas": wanted, "selector": {} }, "status": { "replicas": wanted, "readyReplicas": available, "availableReplicas": available } });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn reason(status: &DeploymentStatus, kind: &str) -> String {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == kind)
            .unwrap()
            .reason
            .clone()
            .unwrap()
    }

    #[test]
    fn a_finished_rollout_is_available_and_says_so() {
        let new = set(2, 2);
        let (status, wait) = status(&deployment(), Some(&new), &[Arc::clone(&new)], Timestamp::UNIX_EPOCH);
        assert_eq!(reason(&status, "Progressing"), "NewReplicaSetAvailable");
        assert_eq!(reason(&status, "Available"), "MinimumReplicasAvailable");
        assert_eq!((status.available_replicas, status.unavailable_replicas, wait), (Some(2), None, None));
    }

    #[test]
    fn a_rollout_that_stands_still_misses_its_deadline() {
        let (new, start) = (set(2, 0), Timestamp::UNIX_EPOCH);
        let mut deployment = deployment();
        let (first, wait) = status(&deployment, Some(&new), &[Arc::clone(&new)], start);
        assert_eq!(wait, Some(Duration::from_secs(60)));
        deployment.status = Some(first);
        let later = start.saturating_add(SignedDuration::from_secs(61)).unwrap();
        let (second, _) = status(&deployment, Some(&new), &[Arc::clone(&new)], later);
        assert_eq!(reason(&second, "Progressing"), "ProgressDeadlineExceeded");
    }
}
