//! Counting: pure functions of a budget and its pods.

use crate::pods;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pod whose eviction was granted and that is still there after so long is not going to leave.
const LEAVES_WITHIN: SignedDuration = SignedDuration::from_mins(2);

/// Pods whose eviction was granted, and when.
pub(super) type Leaving = BTreeMap<String, Time>;

/// How many pods a budget is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    /// There are to be so many.
    pub expected: i32,
    /// So many have to be healthy.
    pub desired: i32,
    /// So many are.
    pub healthy: i32,
}

impl Counts {
    /// How many may go now.
    pub(super) fn allowed(self) -> i32 {
        if self.expected <= 0 { 0 } else { (self.healthy - self.desired).max(0) }
    }
}

/// Whether a pod is one of a budget's. Without a selector it has none, with an empty one all.
pub(super) fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector = selector.and_then(|selector| crate::conditions::selector(selector).ok());
    budget.metadata.namespace == pod.metadata.namespace
        && selector.is_some_and(|selector| selector.matches_opt(pod.metadata.labels.as_ref()))
}

/// Whether how many pods there are to be is for what makes them to say, and not for their number.
pub(super) fn asks_makers(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
    })
}

/// How many pods have to be healthy of those that there are to be.
pub(super) fn desired(budget: &PodDisruptionBudget, expected: i32) -> i32 {
    let Some(spec) = budget.spec.as_ref() else { return 0 };
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => (expected - share(most, expected)).max(0),
        (None, Some(least)) => share(least, expected),
        (None, None) => 0,
    }
}

/// A number, or a percentage of `whole` rounded up.
fn share(amount: &IntOrString, whole: i32) -> i32 {
    match amount {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
            let part = (i64::from(whole) * percent + 99).div_euclid(100);
            i32::try_from(part).unwrap_or(i32::MAX)
        }
    }
}

/// Pods that are ready and not about to leave.
pub(super) fn healthy(all: &[Arc<Pod>], leaving: &Leaving) -> i32 {
    let stays = |pod: &&Arc<Pod>| {
        pod.metadata.deletion_timestamp.is_none()
            && !leaving.contains_key(pods::name(pod))
            && pods::is_ready(pod)
    };
    i32::try_from(all.iter().filter(stays).count()).unwrap_or(i32::MAX)
}

/// Of the pods whose eviction was granted those that may still leave, and when the first of them should have.
pub(super) fn leaving(all: &[Arc<Pod>], granted: &Leaving, now: Timestamp) -> (Leaving, Option<Timestamp>) {
    let (mut left, mut next) = (Leaving::new(), None);
    for pod in all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let Some(since) = granted.get(pods::name(pod)) else { continue };
        let until = since.0.saturating_add(LEAVES_WITHIN).unwrap_or(since.0);
        if until > now {
            left.insert(pods::name(pod).to_owned(), since.clone());
            next = Some(next.map_or(until, |next: Timestamp| next.min(until)));
        }
    }
    (left, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn budget(spec: Value) -> PodDisruptionBudget {
        let metadata = json!({ "name": "b", "namespace": "n" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    fn pod(name: &str, is_ready: bool) -> Arc<Pod> {
        let ready = if is_ready { "True" } else { "False" };
        let status = json!({ "conditions": [{ "type": "Ready", "status": ready }] });
        let metadata = json!({ "name": name, "namespace": "n", "labels": { "app": "web" } });
        Arc::new(serde_json::from_value(json!({ "metadata": metadata, "status": status })).unwrap())
    }

    #[test]
    fn budgets_say_numbers_or_shares_of_what_there_is_to_be() {
        for (spec, expected, wanted) in [
            (json!({ "minAvailable": 2 }), 5, 2),
            (json!({ "minAvailable": "50%" }), 5, 3),
            (json!({ "maxUnavailable": 1 }), 5, 4),
            (json!({ "maxUnavailable": "30%" }), 5, 3),
            (json!({ "maxUnavailable": 9 }), 5, 0),
        ] {
            assert_eq!(desired(&budget(spec.clone()), expected), wanted, "{spec}");
        }
        assert!(!asks_makers(&budget(json!({ "minAvailable": 2 }))));
        assert!(asks_makers(&budget(json!({ "minAvailable": "50%" }))));
        assert!(asks_makers(&budget(json!({ "maxUnavailable": 1 }))));
        assert_eq!(Counts { expected: 0, desired: 0, healthy: 3 }.allowed(), 0);
        assert_eq!(Counts { expected: 3, desired: 4, healthy: 3 }.allowed(), 0);
        assert_eq!(Counts { expected: 3, desired: 1, healthy: 3 }.allowed(), 2);
    }

    #[test]
    fn a_pod_about_to_leave_is_not_healthy_until_it_should_have_left() {
        let all = [pod("a", true), pod("b", true), pod("c", false)];
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let granted = Leaving::from([("a".to_owned(), Time(at(0))), ("gone".to_owned(), Time(at(0)))]);
        let (left, next) = leaving(&all, &granted, at(60));
        assert!(left.len() == 1 && left.contains_key("a") && next == Some(at(120)), "{left:?} {next:?}");
        assert_eq!(healthy(&all, &left), 1);
        let (left, next) = leaving(&all, &granted, at(120));
        assert_eq!((left.len(), next, healthy(&all, &left)), (0, None, 2));
    }

    #[test]
    fn a_budget_without_a_selector_has_no_pods_and_with_an_empty_one_all() {
        assert!(!selects(&budget(json!({})), &pod("a", true)));
        assert!(selects(&budget(json!({ "selector": {} })), &pod("a", true)));
        assert!(selects(
            &budget(json!({ "selector": { "matchLabels": { "app": "web" } } })),
            &pod("a", true)
        ));
        assert!(!selects(
            &budget(json!({ "selector": { "matchLabels": { "app": "db" } } })),
            &pod("a", true)
        ));
    }
}
