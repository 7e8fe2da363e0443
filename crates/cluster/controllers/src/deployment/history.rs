//! Revisions: each template that was ever rolled out has a number, and the newest is the highest.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub(super) fn revision(annotations: Option<&BTreeMap<String, String>>) -> i64 {
    annotations.and_then(|all| all.get(REVISION)?.parse().ok()).unwrap_or(0)
}

/// The number for the ReplicaSet of the present template: its own while it is the highest, else one more.
pub(super) fn next_revision(new: Option<&ReplicaSet>, old: &[Arc<ReplicaSet>]) -> i64 {
    let highest_old = old.iter().map(|set| revision(set.metadata.annotations.as_ref())).max().unwrap_or(0);
    let own = new.map_or(0, |set| revision(set.metadata.annotations.as_ref()));
    if own > highest_old { own } else { highest_old + 1 }
}

/// The annotations a ReplicaSet gets: the deployment's, its revision, and the sizes its controller had in mind.
pub(super) fn annotations(
    deployment: &Deployment,
    set: Option<&ReplicaSet>,
    revision: i64,
    desired: i32,
    maximum: i32,
) -> BTreeMap<String, String> {
    let mut all = set.and_then(|set| set.metadata.annotations.clone()).unwrap_or_default();
    let own = [REVISION, DESIRED, MAXIMUM, HISTORY, LAST_APPLIED];
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !own.contains(&key.as_str()) {
            all.insert(key.clone(), value.clone());
        }
    }
    let before = all.get(REVISION).cloned().filter(|before| *before != revision.to_string());
    if let Some(before) = before {
        // A template that is rolled out again remembers under which numbers it was before.
        let history = all.entry(HISTORY.to_owned()).or_default();
        *history = if history.is_empty() { before } else { format!("{history},{before}") };
    }
    all.insert(REVISION.to_owned(), revision.to_string());
    all.insert(DESIRED.to_owned(), desired.to_string());
    all.insert(MAXIMUM.to_owned(), maximum.to_string());
    all
}

/// Old, empty ReplicaSets beyond the limit, oldest revision first.
pub(super) fn superfluous(old: &[Arc<ReplicaSet>], limit: i32) -> Vec<Arc<ReplicaSet>> {
    let is_empty = |set: &&Arc<ReplicaSet>| {
        let status = set.status.clone().unwrap_or_default();
        let generation = set.metadata.generation <= status.observed_generation;
        generation
            && status.replicas == 0
            && set.spec.as_ref().and_then(|spec| spec.replicas) == Some(0)
            && set.metadata.deletion_timestamp.is_none()
    };
    let mut empty: Vec<Arc<ReplicaSet>> = old.iter().filter(is_empty).cloned().collect();
    empty.sort_by_key(|set| revision(set.metadata.annotations.as_ref()));
    let keep = usize::try_from(limit).unwrap_or(0);
    empty.truncate(empty.len().saturating_sub(keep));
    empty
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(revision: i64) -> Arc<ReplicaSet> {
        let value = json!({ "metadata": { "name": format!("s{revision}"), "annotations": { REVISION: revision.to_string() } }, "spec": { "replicas": 0, "selector": {} }, "status": { "replicas": 0 } });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_template_that_comes_back_gets_a_new_number() {
        assert_eq!(next_revision(None, &[]), 1);
        assert_eq!(next_revision(Some(&set(2)), &[set(1)]), 2);
        assert_eq!(next_revision(Some(&set(1)), &[set(2)]), 3);
    }

    #[test]
    fn a_number_from_before_is_remembered() {
        let deployment = Deployment::default();
        let all = annotations(&deployment, Some(&set(1)), 3, 3, 4);
        assert_eq!(all[REVISION], "3");
        assert_eq!(all[HISTORY], "1");
    }

    #[test]
    fn only_the_oldest_beyond_the_limit_go() {
        let old: Vec<_> = (1..=5).map(set).collect();
        let names: Vec<_> =
            superfluous(&old, 3).iter().map(|set| set.metadata.name.clone().unwrap()).collect();
        assert_eq!(names, ["s1", "s2"]);
    }
}
