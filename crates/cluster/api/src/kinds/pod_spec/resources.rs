//! Requests and limits of containers.

use super::super::place::{Faults, Place};
use super::super::resource_names;
use super::super::value::{each_mut, items, object_mut};
use hako_kube::field;
use hako_names::Quantity;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// A container that says only its limits requests as much.
pub(in super::super) fn default_requests(spec: &mut Map<String, Value>) {
    for part in ["initContainers", "containers"] {
        for container in each_mut(spec, part) {
            let Some(resources) = container.get_mut("resources") else { continue };
            let limits = resources.get("limits").and_then(Value::as_object).cloned();
            let Some(limits) = limits.filter(|limits| !limits.is_empty()) else { continue };
            if let Some(requests) = object_mut(resources, &["requests"]) {
                for (name, limit) in limits {
                    requests.entry(name).or_insert(limit);
                }
            }
        }
    }
}

/// Resources that can change while a container runs do so in place, unless it says otherwise.
pub(in super::super) fn default_resize_policy(spec: &mut Map<String, Value>) {
    for part in ["initContainers", "containers"] {
        for container in each_mut(spec, part) {
            let stays =
                part == "containers" || container.get("restartPolicy").is_some_and(|it| it == "Always");
            if stays {
                for name in ["cpu", "memory"] {
                    default_policy_of(container, name);
                }
            }
        }
    }
}

fn default_policy_of(container: &mut Map<String, Value>, name: &str) {
    let has = |list: &str| container.get("resources").and_then(|it| it.get(list)?.get(name)).is_some();
    let policies = container.get("resizePolicy").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_said = policies.iter().any(|policy| policy.get("resourceName").is_some_and(|it| it == name));
    if is_said || !(has("requests") || has("limits")) {
        return;
    }
    let policy = json!({ "resourceName": name, "restartPolicy": "NotRequired" });
    match container.get_mut("resizePolicy").and_then(Value::as_array_mut) {
        Some(policies) => policies.push(policy),
        None => drop(container.insert("resizePolicy".to_owned(), json!([policy]))),
    }
}

/// An amount, as text or as a number.
pub(super) fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by cpu and memory.
pub(crate) fn qos_class(pod: &Value) -> &'static str {
    let (mut has_any, mut is_guaranteed) = (false, true);
    for part in ["initContainers", "containers"] {
        for container in items(pod, &["spec", part]) {
            for name in ["cpu", "memory"] {
                let amount = |kind: &str| {
                    let value = super::at(container, &["resources", kind, name]).and_then(quantity);
                    value.filter(|amount| !amount.is_zero())
                };
                let (request, limit) = (amount("requests"), amount("limits"));
                has_any |= request.is_some() || limit.is_some();
                is_guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
            }
        }
    }
    match (has_any, is_guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// What a requirement is of: that says which resources it may name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Container,
    Pod,
}

/// All faults of limits and requests, `resources` as they are written.
pub(super) fn validate(resources: &Place<'_>, of: Of, faults: &mut Faults) {
    let (limits, requests) = (resources.at(&["limits"]), resources.at(&["requests"]));
    let (mut has_computed, mut has_huge) = (false, false);
    for list in [&limits, &requests] {
        for (name, place) in list.entries() {
            one(name, &place, of, faults);
            has_computed |= matches!(name, "cpu" | "memory");
            has_huge |= name.starts_with("hugepages-");
        }
    }
    for (name, request) in requests.entries() {
        within_limit(name, &request, &limits, &requests, faults);
    }
    if has_huge && !has_computed {
        faults.push(resources.forbidden("HugePages require cpu or memory"));
    }
}

fn one(name: &str, place: &Place<'_>, of: Of, faults: &mut Faults) {
    match of {
        Of::Container => resource_names::of_container(name, place, faults),
        Of::Pod => resource_names::of_pod(name, place, faults),
    }
    let Some(amount) = quantity(place.value) else { return };
    resource_names::amount(name, amount, place, faults);
    let page = name.strip_prefix("hugepages-").and_then(|size| size.parse::<Quantity>().ok());
    let is_divided = page.is_none_or(|page| page.units() > 0 && amount.units() % page.units() == 0);
    if !is_divided {
        let detail = format!("{amount} is not positive integer multiple of {name}");
        faults.push(field::invalid(place.path(), amount.to_string(), &detail));
    }
}

/// Nothing requests more than its limit, and what cannot be shared requests just that.
fn within_limit(
    name: &str,
    request: &Place<'_>,
    limits: &Place<'_>,
    requests: &Place<'_>,
    faults: &mut Faults,
) {
    let Some(amount) = quantity(request.value) else { return };
    let may_overcommit = resource_names::may_overcommit(name);
    let Some(limit) = limits.value.get(name).and_then(quantity) else {
        if !may_overcommit {
            faults.push(limits.required("Limit must be set for non overcommitable resources"));
        }
        return;
    };
    let relation = match (may_overcommit, amount == limit, amount > limit) {
        (false, false, _) => "equal to",
        (true, _, true) => "less than or equal to",
        _ => return,
    };
    let detail = format!("must be {relation} {name} limit of {limit}");
    faults.push(field::invalid(requests.path(), amount.to_string(), &detail));
}

/// All faults of what a container does when its resources change.
pub(super) fn resize_policy(policies: &Place<'_>, restart: &str, faults: &mut Faults) {
    let mut seen: HashSet<&str> = HashSet::new();
    for policy in policies.items() {
        let (resource, action) = (policy.at(&["resourceName"]), policy.at(&["restartPolicy"]));
        if !seen.insert(resource.text()) {
            faults.push(field::duplicate(policy.path(), resource.text()));
        }
        choice(policies, resource.text(), &["cpu", "memory"], faults);
        choice(policies, action.text(), &["NotRequired", "RestartContainer"], faults);
        if restart == "Never" && action.text() != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            faults.push(field::invalid(policies.path(), action.text(), detail));
        }
    }
}

/// The original names the list and not the item.
fn choice(list: &Place<'_>, text: &str, allowed: &[&str], faults: &mut Faults) {
    if text.is_empty() {
        faults.push(list.required(""));
    } else if !allowed.contains(&text) {
        faults.push(field::not_supported(list.path(), text, allowed));
    }
}
