//! What a pod may use as a whole, beside what each of its containers may.

use super::super::place::{Faults, Place};
use super::super::resource_names;
use super::super::value::{members, object_mut};
use super::resources::{self, quantity};
use hako_kube::field;
use hako_names::Quantity;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// No amount of anything.
const NONE: Quantity = Quantity::from_units(0);

/// A pod that says a part of what it may use as a whole says the rest as its containers do.
pub(in super::super) fn default(spec: &mut Map<String, Value>) {
    let said = |list: &str| {
        spec.get("resources").is_some_and(|whole| !super::at(whole, &[list]).is_none_or(is_empty))
    };
    let (has_limits, has_requests) = (said("limits"), said("requests"));
    if !has_limits && !has_requests {
        return;
    }
    let whole = Value::Object(spec.clone());
    let place = Place::of(&whole);
    let containers = total(&place, "limits");
    let requested = |name: &str| place.at(&["resources", "requests", name]).is_set();
    let mut limits: Vec<(String, Value)> = Vec::new();
    for (name, amount) in &containers {
        let is_huge = resource_names::is_huge_pages(name) && !requested(name);
        let is_bounded = !has_limits && is_computed(name) && are_all_limited(&place, name);
        if is_huge || is_bounded {
            limits.push((name.clone(), amount.to_string().into()));
        }
    }
    add(spec, "limits", limits);
    if !has_limits {
        return;
    }
    let totals = total(&place, "requests").into_iter().filter(|(name, _)| is_computed(name));
    let mut requests: Vec<(String, Value)> =
        totals.map(|(name, amount)| (name, Value::from(amount.to_string()))).collect();
    let limits = spec.get("resources").and_then(|whole| whole.get("limits")).and_then(Value::as_object);
    let of_limits = limits
        .into_iter()
        .flatten()
        .filter(|(name, _)| is_computed(name) || resource_names::is_huge_pages(name));
    requests.extend(of_limits.map(|(name, value)| (name.clone(), value.clone())));
    add(spec, "requests", requests);
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_none_or(Map::is_empty)
}

fn is_computed(name: &str) -> bool {
    matches!(name, "cpu" | "memory")
}

fn add(spec: &mut Map<String, Value>, list: &str, amounts: Vec<(String, Value)>) {
    let Some(whole) = spec.get_mut("resources").filter(|_| !amounts.is_empty()) else { return };
    if let Some(list) = object_mut(whole, &[list]) {
        for (name, amount) in amounts {
            list.entry(name).or_insert(amount);
        }
    }
}

fn are_all_limited(spec: &Place<'_>, name: &str) -> bool {
    let lists = ["containers", "initContainers"].into_iter().flat_map(|list| spec.at(&[list]).items());
    lists.into_iter().all(|container| container.at(&["resources", "limits", name]).is_set())
}

/// All faults of what a pod requires as a whole, beside what its containers do.
pub(super) fn validate(spec: &Place<'_>, faults: &mut Faults) {
    let whole = spec.at(&["resources"]);
    if !whole.is_set() {
        return;
    }
    let claims = whole.at(&["claims"]);
    if claims.is_set() {
        faults.push(claims.forbidden("claims cannot be set for Resources at pod-level"));
    }
    resources::validate(&whole, resources::Of::Pod, faults);
    let requests = whole.at(&["requests"]);
    for (name, total) in total(spec, "requests") {
        let given = requests.value.get(&name).and_then(quantity).unwrap_or(NONE);
        if total > given {
            let path = field::key(&requests.path(), &name);
            let detail = format!("must be greater than or equal to aggregate container requests of {total}");
            faults.push(field::invalid(path, given.to_string(), &detail));
        }
    }
    for (index, container) in spec.at(&["containers"]).items().enumerate() {
        for (name, limit) in container.at(&["resources", "limits"]).entries() {
            let most = whole.at(&["limits"]).value.get(name).and_then(quantity);
            let (Some(limit), Some(most)) = (quantity(limit.value), most) else { continue };
            if limit > most {
                let path = field::index(&field::child(&whole.path(), "containers"), index);
                let path = field::child(&field::key(&path, name), "limits");
                let detail = format!("must be less than or equal to pod limits of {most}");
                faults.push(field::invalid(path, limit.to_string(), &detail));
            }
        }
    }
}

/// What the containers of a pod say together: while they run, or before, whichever is more.
fn total(spec: &Place<'_>, list: &str) -> BTreeMap<String, Quantity> {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for part in ["containers", "initContainers"] {
        for container in spec.at(&[part]).items() {
            let stays = container.at(&["restartPolicy"]).text() == "Always";
            for (name, amount) in members(container.value, &["resources", list]) {
                let (sum, amount) = (sums.entry(name).or_insert(Sum::NONE), quantity(amount).unwrap_or(NONE));
                match (part, stays) {
                    ("containers", _) => sum.running = sum.running + amount,
                    (_, true) => {
                        sum.beside = sum.beside + amount;
                        sum.most = sum.most.max(sum.beside);
                    }
                    // One that does not say the resource is no more than those beside it, which count already.
                    _ => sum.most = sum.most.max(sum.beside + amount),
                }
            }
        }
    }
    let whole = |(name, sum): (&str, Sum)| (name.to_owned(), sum.most.max(sum.running + sum.beside));
    sums.into_iter().map(whole).collect()
}

/// What the containers seen so far use of one resource.
struct Sum {
    running: Quantity,
    /// By those that start before the others and stay.
    beside: Quantity,
    /// The most at any time before the others run.
    most: Quantity,
}

impl Sum {
    const NONE: Self = Self { running: NONE, beside: NONE, most: NONE };
}
