//! One step of a budget.

use super::count::{self, Counts, Leaving};
use super::{Controller, Makers};
use crate::wiring::Key;
use hako_client::{Api, Informer, Object};
use hako_error::{Kind, Result};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const ALLOWED: &str = "DisruptionAllowed";

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let Some(budget) = self.budgets.get(&key.0, &key.1) else { return Ok(None) };
        let mut pods = self.pods.list_in(&key.0);
        pods.retain(|pod| count::selects(&budget, pod));
        let before = budget.status.clone().unwrap_or_default();
        let granted = before.disrupted_pods.clone().unwrap_or_default();
        let now = Timestamp::now();
        let (leaving, next) = count::leaving(&pods, &granted, now);
        let expected = self.expected(&budget, &pods);
        let desired = count::desired(&budget, expected);
        let counts = Counts { expected, desired, healthy: count::healthy(&pods, &leaving) };
        let status = status(&budget, &before, counts, leaving);
        if status != before {
            self.write(&budget, status).await?;
        }
        Ok(next.and_then(|next| Duration::try_from(now.duration_until(next)).ok()))
    }

    /// How many pods there are to be.
    fn expected(&self, budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> i32 {
        if !count::asks_makers(budget) {
            return i32::try_from(pods.len()).unwrap_or(i32::MAX);
        }
        let mut scales: BTreeMap<String, i32> = BTreeMap::new();
        let mut lost = Vec::new();
        for pod in pods {
            let Some(owner) = controller_of(&**pod) else {
                lost.push(crate::pods::name(pod));
                continue;
            };
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            match self.makers.scale(namespace, owner) {
                Some((uid, replicas)) => drop(scales.insert(uid, replicas)),
                None => lost.push(crate::pods::name(pod)),
            }
        }
        if !lost.is_empty() {
            let text = format!(
                "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a \
                 result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. \
                 To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
                selector_text(budget)
            );
            self.recorder.warning(budget, "UnmanagedPods", &text);
        }
        scales.into_values().fold(0, i32::saturating_add)
    }

    /// At the version that was looked at: an eviction granted meanwhile counts.
    async fn write(&self, budget: &PodDisruptionBudget, status: PodDisruptionBudgetStatus) -> Result<()> {
        let mut changed = budget.clone();
        changed.status = Some(status);
        let api: Api<PodDisruptionBudget> =
            self.client.namespaced(budget.metadata.namespace.as_deref().unwrap_or_default());
        match api.replace_status(budget.metadata.name.as_deref().unwrap_or_default(), &changed).await {
            // The change wakes this key again.
            Err(error) if !matches!(error.kind(), Kind::Conflict | Kind::NotFound) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Makers {
    /// Who says how many pods of a controller there are to be, and how many.
    fn scale(&self, namespace: &str, owner: &OwnerReference) -> Option<(String, i32)> {
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = own(&self.replica_sets, namespace, owner)?;
                let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                let deployment = controller_of(&*set).filter(|owner| owner.kind == "Deployment");
                let deployment = deployment.and_then(|owner| own(&self.deployments, namespace, owner));
                let Some(deployment) = deployment else { return Some((owner.uid.clone(), replicas)) };
                let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                Some((deployment.metadata.uid.clone().unwrap_or_default(), replicas))
            }
            "StatefulSet" => {
                let set = own(&self.stateful_sets, namespace, owner)?;
                Some((owner.uid.clone(), set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)))
            }
            "ReplicationController" => {
                let set = own(&self.controllers, namespace, owner)?;
                Some((owner.uid.clone(), set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)))
            }
            _ => None,
        }
    }
}

/// The very object that a reference names.
fn own<K: Object>(informer: &Informer<K>, namespace: &str, owner: &OwnerReference) -> Option<Arc<K>> {
    let object = informer.get(namespace, &owner.name)?;
    (object.metadata().uid.as_deref() == Some(owner.uid.as_str())).then_some(object)
}

fn controller_of<K: Object>(object: &K) -> Option<&OwnerReference> {
    object.metadata().owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

fn selector_text(budget: &PodDisruptionBudget) -> String {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let labels = selector.and_then(|selector| selector.match_labels.clone()).unwrap_or_default();
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn status(
    budget: &PodDisruptionBudget,
    before: &PodDisruptionBudgetStatus,
    counts: Counts,
    leaving: Leaving,
) -> PodDisruptionBudgetStatus {
    let generation = budget.metadata.generation;
    let is_allowed = counts.allowed() > 0;
    let (status, reason) =
        if is_allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let mut conditions = before.conditions.clone().unwrap_or_default();
    let known = conditions.iter().position(|condition| condition.type_ == ALLOWED);
    let since = known.map(|at| &conditions[at]).filter(|condition| condition.status == status);
    let condition = Condition {
        last_transition_time: since.map_or_else(crate::conditions::now, |it| it.last_transition_time.clone()),
        message: String::new(),
        observed_generation: generation,
        reason: reason.to_owned(),
        status: status.to_owned(),
        type_: ALLOWED.to_owned(),
    };
    match known {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
    PodDisruptionBudgetStatus {
        conditions: Some(conditions),
        current_healthy: Some(counts.healthy),
        desired_healthy: Some(counts.desired),
        disrupted_pods: (!leaving.is_empty()).then_some(leaving),
        disruptions_allowed: Some(counts.allowed()),
        expected_pods: Some(counts.expected),
        observed_generation: generation,
    }
}
