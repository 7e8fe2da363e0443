//! What a device has so much of, and how much of it a request may take where several share the device.

use super::super::check::quantity;
use super::super::place::{Faults, Place};
use super::all;
use hako_kube::field;
use hako_names::Quantity;

const VALUES_MAX: usize = 10;
const WRONG_ORDER: &str = "values must be sorted in ascending order";
const NOT_DEFAULT: &str = "default value is not valid according to the requestPolicy";

/// All faults of a capacity.
pub(super) fn validate(capacity: &Place<'_>, is_shared: bool, faults: &mut Faults) {
    let policy = capacity.at(&["requestPolicy"]);
    if !policy.is_set() {
        return;
    }
    if !is_shared {
        faults.push(policy.forbidden("allowMultipleAllocations must be true"));
        return;
    }
    let max = quantity(Some(capacity.at(&["value"]).value)).unwrap_or(Quantity::ZERO);
    let (values, range) = (policy.at(&["validValues"]), policy.at(&["validRange"]));
    let default = policy.at(&["default"]);
    let needs = |name: &str| default.required(&format!("required when {name} is defined"));
    match (values.is_empty(), range.is_set(), quantity(Some(default.value))) {
        (false, true, _) => faults.push(policy.forbidden(
            "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time",
        )),
        (false, false, None) => faults.push(needs("validValues")),
        (false, false, Some(default)) => of_values(&values, &default, &max, faults),
        (true, true, None) => faults.push(needs("validRange")),
        (true, true, Some(default)) => of_range(&range, &default, &max, faults),
        (true, false, _) => {}
    }
}

fn of_values(values: &Place<'_>, default: &Quantity, max: &Quantity, faults: &mut Faults) {
    let amounts: Vec<(Place<'_>, Quantity)> =
        values.items().filter_map(|it| quantity(Some(it.value)).map(|amount| (it, amount))).collect();
    for pair in amounts.windows(2).filter(|pair| pair[0].1 > pair[1].1) {
        faults.push(pair[1].0.invalid(WRONG_ORDER));
    }
    all(values, VALUES_MAX, faults, |value, faults| {
        if quantity(Some(value.value)).is_some_and(|amount| amount > *max) {
            faults.push(value.invalid(&format!("option is larger than capacity value: {max}")));
        }
    });
    if amounts.len() <= VALUES_MAX {
        for (at, (value, amount)) in amounts.iter().enumerate() {
            if amounts[..at].iter().any(|(_, earlier)| earlier.units() == amount.units()) {
                faults.push(field::duplicate(value.path(), amount.units().to_string()));
            }
        }
    }
    // Those of a list that is too long are not looked at.
    if amounts.len() > VALUES_MAX || !amounts.iter().any(|(_, amount)| amount == default) {
        faults.push(field::invalid(values.path(), default.to_string(), NOT_DEFAULT));
    }
}

fn of_range(range: &Place<'_>, default: &Quantity, capacity: &Quantity, faults: &mut Faults) {
    let at = |name: &str| (range.at(&[name]).path(), quantity(Some(range.at(&[name]).value)));
    let ((min_path, min), (max_path, max), (step_path, step)) = (at("min"), at("max"), at("step"));
    let mut refuse = |path: &str, amount: &Quantity, detail: String| {
        faults.push(field::invalid(path, amount.to_string(), &detail));
    };
    let Some(min) = min else {
        faults.push(field::required(min_path, "required when validRange is defined"));
        return;
    };
    if min > *capacity {
        refuse(&min_path, &min, format!("min is larger than capacity value: {capacity}"));
    }
    if *default < min {
        refuse(&min_path, default, format!("default is less than min: {min}"));
    }
    if let Some(max) = &max {
        if min > *max {
            refuse(&max_path, &min, format!("min is larger than max: {max}"));
        }
        if max > capacity {
            refuse(&max_path, max, format!("max is larger than capacity value: {capacity}"));
        }
        if default > max {
            refuse(&max_path, default, format!("default is more than max: {max}"));
        }
    }
    let Some(step) = step else { return };
    if min + step > *capacity {
        let first = Quantity::from_units(min.units().saturating_add(step.units()));
        let detail = format!("one step {first} is larger than capacity value: {capacity}");
        refuse(&step_path, &step, detail);
    }
    for amount in [Some(default), max.as_ref()].into_iter().flatten() {
        let above = amount.units().saturating_sub(min.units());
        // A step of nothing leads nowhere; upstream divides by it.
        if above.checked_rem(step.units()).is_none_or(|rest| rest != 0) {
            let detail = format!("value is not a multiple of a given step ({step}) from ({min})");
            refuse(&step_path, amount, detail);
        }
    }
}
