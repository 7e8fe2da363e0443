//! Amounts of what nodes offer and pods ask for.

use std::collections::BTreeMap;

use hako_names::Quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

pub const CPU: &str = "cpu";
pub const MEMORY: &str = "memory";
pub const PODS: &str = "pods";

/// What a container without requests counts as when nodes are compared; never when room is checked.
const DEFAULT_CPU_MILLIS: i64 = 100;
const DEFAULT_MEMORY_BYTES: i64 = 200 << 20;

/// Amounts by resource: thousandths for cpu, units for all else. What is zero is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(BTreeMap<String, i64>);

impl Resources {
    /// Reads quantities; what is no quantity counts as nothing (the API refuses it anyway).
    pub fn parse(amounts: Option<&BTreeMap<String, Text>>) -> Self {
        let amounts = amounts.into_iter().flatten().filter_map(|(name, text)| {
            let quantity: Quantity = text.0.parse().ok()?;
            let amount = if name == CPU { quantity.millis() } else { quantity.units() };
            (amount != 0).then(|| (name.clone(), amount))
        });
        Self(amounts.collect())
    }

    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            match self.0.get_mut(name) {
                Some(sum) => *sum = sum.saturating_add(*amount),
                None => drop(self.0.insert(name.clone(), *amount)),
            }
        }
    }

    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            if let Some(sum) = self.0.get_mut(name) {
                *sum = sum.saturating_sub(*amount);
            }
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let highest = self.0.entry(name.clone()).or_default();
            *highest = (*highest).max(*amount);
        }
    }
}

/// An amount as people write it.
pub fn show(name: &str, amount: i64) -> String {
    match name {
        CPU => Quantity::from_millis(amount).to_string(),
        MEMORY | "ephemeral-storage" => Quantity::from_bytes(amount).to_string(),
        _ => amount.to_string(),
    }
}

/// What a pod needs at its most demanding moment: its containers together with the init containers that stay
/// (restartPolicy Always), or an ordinary init container together with those that stay and started before it.
pub fn pod_requests(spec: &PodSpec) -> Resources {
    total(spec, |requirements| {
        Resources::parse(requirements.and_then(|requirements| requirements.requests.as_ref()))
    })
}

/// The same with defaults for containers that ask for nothing, to tell a busy node from an idle one.
pub fn pod_weight(spec: &PodSpec) -> Resources {
    total(spec, |requirements| {
        let mut requests =
            Resources::parse(requirements.and_then(|requirements| requirements.requests.as_ref()));
        for (name, default) in [(CPU, DEFAULT_CPU_MILLIS), (MEMORY, DEFAULT_MEMORY_BYTES)] {
            requests.0.entry(name.to_owned()).or_insert(default);
        }
        requests
    })
}

fn total(spec: &PodSpec, requests: impl Fn(Option<&ResourceRequirements>) -> Resources) -> Resources {
    let of = |container: &Container| requests(container.resources.as_ref());
    let (mut staying, mut peak) = (Resources::default(), Resources::default());
    for container in spec.init_containers.iter().flatten() {
        let mut now = staying.clone();
        now.add(&of(container));
        if container.restart_policy.as_deref() == Some("Always") {
            staying.clone_from(&now);
        }
        peak.raise_to(&now);
    }
    let mut sum = staying;
    for container in &spec.containers {
        sum.add(&of(container));
    }
    sum.raise_to(&peak);
    let of_pod = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    for (name, amount) in Resources::parse(of_pod).0 {
        sum.0.insert(name, amount);
    }
    sum.add(&Resources::parse(spec.overhead.as_ref()));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod;
    use serde_json::json;

    fn cpu(spec: serde_json::Value) -> i64 {
        pod_requests(pod(spec).spec.as_ref().unwrap()).get(CPU)
    }

    fn container(cpu: &str) -> serde_json::Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn containers_add_up_and_an_init_container_counts_if_it_is_larger() {
        assert_eq!(cpu(json!({"containers": [container("1"), container("500m")]})), 1500);
        assert_eq!(
            cpu(json!({"containers": [container("1")], "initContainers": [container("2"), container("3")]})),
            3000
        );
        assert_eq!(cpu(json!({"containers": [container("4")], "initContainers": [container("2")]})), 4000);
    }

    #[test]
    fn an_init_container_that_stays_counts_with_what_comes_after_it() {
        let mut staying = container("1");
        staying["restartPolicy"] = "Always".into();
        assert_eq!(cpu(json!({"containers": [container("2")], "initContainers": [staying]})), 3000);
        assert_eq!(
            cpu(json!({"containers": [container("2")], "initContainers": [staying, container("5")]})),
            6000
        );
        assert_eq!(
            cpu(json!({"containers": [container("2")], "initContainers": [container("5"), staying]})),
            5000
        );
    }

    #[test]
    fn overhead_adds_and_requests_of_the_pod_replace_the_sum() {
        let spec = json!({"containers": [container("1")], "overhead": {"cpu": "250m"}});
        assert_eq!(cpu(spec), 1250);
        let spec = json!({"containers": [container("1")], "resources": {"requests": {"cpu": "3"}}});
        assert_eq!(cpu(spec), 3000);
    }

    #[test]
    fn containers_without_requests_weigh_something_and_need_nothing() {
        let pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(pod_requests(spec), Resources::default());
        assert_eq!((pod_weight(spec).get(CPU), pod_weight(spec).get(MEMORY)), (200, 400 << 20));
    }
}
