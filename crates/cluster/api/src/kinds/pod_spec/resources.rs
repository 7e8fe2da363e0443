//! Requests and limits of containers.

use super::super::value::{each_mut, items, members, object_mut};
use super::Check;
use hako_error::FieldCause;
use hako_kube::{field, names};
use hako_names::Quantity;
use serde_json::{Map, Value};

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

fn quantity(value: &Value) -> Option<Quantity> {
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

impl Check<'_> {
    pub(super) fn resources(&mut self, container: &Value, path: &str) {
        self.resources_at(container, &field::child(path, "resources"));
    }

    pub(super) fn resources_at(&mut self, container: &Value, path: &str) {
        for kind in ["limits", "requests"] {
            for (name, value) in members(container, &["resources", kind]) {
                let path = field::key(&field::child(path, kind), name);
                resource_name(name, &path, &mut self.causes);
                if quantity(value).is_some_and(|amount| amount.is_negative()) {
                    self.causes.push(field::invalid(
                        &path,
                        value.clone(),
                        "must be greater than or equal to 0",
                    ));
                }
            }
        }
        for (name, value) in members(container, &["resources", "requests"]) {
            let limit = super::at(container, &["resources", "limits", name]);
            let (request, limit) = (quantity(value), limit.and_then(quantity));
            let Some((request, limit)) = request.zip(limit) else { continue };
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            if request > limit {
                self.causes.push(field::invalid(
                    field::child(path, "requests"),
                    request.to_string(),
                    &detail,
                ));
            }
        }
    }
}

fn resource_name(name: &str, path: &str, causes: &mut Vec<FieldCause>) {
    let of = |fault: String| field::invalid(path, name, &fault);
    causes.extend(names::qualified_name(name).into_iter().map(of));
    let is_standard =
        matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !name.contains('/') && !is_standard {
        causes.push(field::invalid(path, name, "must be a standard resource for containers"));
    }
}
