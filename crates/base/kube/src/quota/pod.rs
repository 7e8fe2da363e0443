//! What a pod takes.

use super::{Usage, quantity};
use hako_names::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

/// Resources whose requests may be limited by their bare name, too.
const BARE: &[&str] = &["cpu", "memory", "ephemeral-storage"];

type Amounts = BTreeMap<String, Quantity>;

/// Whether a name of a quota is about what pods request or are limited to.
pub(super) fn is_compute(name: &str) -> bool {
    BARE.contains(&name)
        || name.starts_with("hugepages-")
        || name.strip_prefix("limits.").is_some_and(is_resource)
        || name.strip_prefix("requests.").is_some_and(|name| name != "storage" && is_resource(name))
}

fn is_resource(name: &str) -> bool {
    BARE.contains(&name) || name.starts_with("hugepages-") || name.contains('/')
}

/// Adds what a pod takes: one that has ended takes nothing but its place in the store.
pub(super) fn add(pod: &Value, usage: &mut Usage) {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or("");
    if matches!(phase, "Failed" | "Succeeded") {
        return;
    }
    usage.insert("pods".to_owned(), Quantity::from_units(1));
    for (name, amount) in amounts(pod, "requests") {
        if BARE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            usage.insert(name.clone(), amount);
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in amounts(pod, "limits") {
        usage.insert(format!("limits.{name}"), amount);
    }
}

/// What a pod has in its `requests` or `limits` as a whole: those of containers that run together, or the largest that
/// runs before them; with the sandbox's own.
#[must_use]
pub fn amounts(pod: &Value, list: &str) -> Amounts {
    let spec = &pod["spec"];
    let containers = |name: &str| spec[name].as_array().cloned().unwrap_or_default();
    let of = |container: &Value| read(&container["resources"][list]);
    let mut together = Amounts::new();
    for container in containers("containers") {
        plus(&mut together, of(&container));
    }
    // Sidecars stay beside all that comes after them.
    let (mut sidecars, mut first) = (Amounts::new(), Amounts::new());
    for container in containers("initContainers") {
        let mut now = sidecars.clone();
        plus(&mut now, of(&container));
        if container["restartPolicy"] == "Always" {
            sidecars.clone_from(&now);
        }
        most(&mut first, now);
    }
    plus(&mut together, sidecars);
    most(&mut together, first);
    for (name, amount) in read(&spec["resources"][list]) {
        // What is said of the whole pod holds instead of the sum.
        together.insert(name, amount);
    }
    let is_limit = list == "limits";
    // A sandbox's own share adds to limits only where there is one.
    let overhead = read(&spec["overhead"]).into_iter();
    let overhead: Amounts = overhead.filter(|(name, _)| !is_limit || together.contains_key(name)).collect();
    plus(&mut together, overhead);
    together
}

fn read(list: &Value) -> Amounts {
    let all = list.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), quantity(value)?))).collect()
}

fn plus(sum: &mut Amounts, more: Amounts) {
    super::add(sum, more);
}

fn most(sum: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        let largest = sum.remove(&name).map_or(amount, |before| before.max(amount));
        sum.insert(name, largest);
    }
}

/// Whether no container requests cpu or memory or is limited in it.
pub(super) fn is_best_effort(pod: &Value) -> bool {
    let lists = ["containers", "initContainers"];
    let containers = lists.iter().filter_map(|name| pod["spec"][*name].as_array()).flatten();
    let of_pod = &pod["spec"]["resources"];
    !containers.map(|container| &container["resources"]).chain([of_pod]).any(|resources| {
        ["requests", "limits"].iter().any(|list| {
            let is_set =
                |name: &str| quantity(&resources[*list][name]).is_some_and(|amount| !amount.is_zero());
            is_set("cpu") || is_set("memory")
        })
    })
}
