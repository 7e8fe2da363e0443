//! What pods ask for, in sum. Pure.

use std::collections::BTreeMap;

use hako_names::Quantity;
use serde_json::Value;

use super::plugin::{items, text};

/// Amounts by the name of the resource.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// The amounts of a map; what is none is left out, as validation refuses it.
pub(super) fn amounts(map: &Value) -> Amounts {
    let all = map.as_object().into_iter().flatten();
    all.filter_map(|(name, amount)| Some((name.clone(), amount.as_str()?.parse().ok()?))).collect()
}

/// Adds all of `more`.
pub(super) fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.get(name).copied().unwrap_or(Quantity::ZERO) + *amount;
        to.insert(name.clone(), sum);
    }
}

/// Raises to what is greater in `other`.
fn raise(to: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let is_more = to.get(name).is_none_or(|have| have < amount);
        if is_more {
            to.insert(name.clone(), *amount);
        }
    }
}

/// What a pod asks for as a whole, its overhead included.
pub(super) fn pod_requests(pod: &Value) -> Amounts {
    let mut sum = whole(pod, "requests");
    add(&mut sum, &amounts(&pod["spec"]["overhead"]));
    sum
}

/// What a pod may take as a whole; overhead counts where there is a limit at all.
pub(super) fn pod_limits(pod: &Value) -> Amounts {
    let mut sum = whole(pod, "limits");
    let overhead = amounts(&pod["spec"]["overhead"]);
    let limited = overhead.into_iter().filter(|(name, _)| sum.contains_key(name)).collect();
    add(&mut sum, &limited);
    sum
}

/// Containers run together; before them init containers, one after the other, but those that stay.
fn whole(pod: &Value, kind: &str) -> Amounts {
    let of = |container: &Value| amounts(&container["resources"][kind]);
    let mut sum = Amounts::new();
    for container in items(pod, "/spec/containers") {
        add(&mut sum, &of(container));
    }
    let (mut staying, mut peak) = (Amounts::new(), Amounts::new());
    for container in items(pod, "/spec/initContainers") {
        if text(container, "/restartPolicy") == "Always" {
            add(&mut staying, &of(container));
            raise(&mut peak, &staying);
        } else {
            let mut together = staying.clone();
            add(&mut together, &of(container));
            raise(&mut peak, &together);
        }
    }
    add(&mut sum, &staying);
    raise(&mut sum, &peak);
    for (name, amount) in amounts(&pod["spec"]["resources"][kind]) {
        sum.insert(name, amount);
    }
    sum
}
