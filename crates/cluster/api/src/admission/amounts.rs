//! Amounts of resources. Pure.

use hako_kube::quota::Usage;
use hako_names::Quantity;
use serde_json::Value;

/// Amounts by the name of the resource.
pub(super) type Amounts = Usage;

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
