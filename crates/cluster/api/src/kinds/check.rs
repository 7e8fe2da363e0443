//! Checks that many kinds share, in the API's words.

use super::value::number;
use hako_error::FieldCause;
use hako_kube::{
    LabelSelector,
    field::{self, Faults},
    names,
};
use hako_names::Quantity;
use serde::Deserialize as _;
use serde_json::Value;
use std::fmt::Display;

pub(super) const IMMUTABLE: &str = "field is immutable";
pub(super) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// Each complaint about a value as a fault.
pub(super) fn syntax(complaints: Vec<String>, value: &str, path: impl Display, causes: &mut Faults) {
    causes.extend(complaints.iter().map(|complaint| field::invalid(path.to_string(), value, complaint)));
}

/// A fault for each of the numbers in an object that is below zero.
pub(super) fn not_negative(object: &Value, names: &[&str], path: &str, causes: &mut Faults) {
    for name in names {
        if let Some(number) = number(object, &[name])
            && number < 0
        {
            causes.push(field::invalid(field::child(path, name), number, NOT_NEGATIVE));
        }
    }
}

/// A fault for each of the members that changed.
pub(super) fn immutable(new: &Value, old: &Value, names: &[&str], path: &str, causes: &mut Faults) {
    for name in names {
        let (is, was) = (new.get(name), old.get(name));
        if is != was {
            let value = is.cloned().unwrap_or(Value::Null);
            causes.push(field::invalid(field::child(path, name), value, IMMUTABLE));
        }
    }
}

/// A fault where a text is given and none of those allowed.
pub(super) fn one_of(object: &Value, name: &str, allowed: &[&str], path: &str, causes: &mut Faults) {
    if let Some(text) = object.get(name).and_then(Value::as_str)
        && !allowed.contains(&text)
    {
        causes.push(field::not_supported(field::child(path, name), text, allowed));
    }
}

/// A fault where a text is missing, empty or none of those allowed.
pub(super) fn required_one_of(object: &Value, name: &str, allowed: &[&str], path: &str, causes: &mut Faults) {
    match object.get(name).and_then(Value::as_str) {
        None | Some("") => causes.push(field::required(field::child(path, name), "")),
        Some(_) => one_of(object, name, allowed, path, causes),
    }
}

/// A fault of a value that its message does not show.
pub(super) fn unfit(path: impl Into<String>, detail: &str) -> FieldCause {
    FieldCause {
        reason: "FieldValueInvalid".to_owned(),
        message: format!("Invalid value: {detail}"),
        field: path.into(),
    }
}

/// Faults of the label selector under `name`, if there is one.
pub(super) fn selector(object: &Value, name: &str, path: &str, causes: &mut Faults) {
    if let Some(selector) = object.get(name).and_then(|selector| LabelSelector::deserialize(selector).ok()) {
        causes.extend(selector.validate(&field::child(path, name)));
    }
}

/// An amount as the schema left it: canonical text.
pub(super) fn quantity(value: Option<&Value>) -> Option<Quantity> {
    value.and_then(Value::as_str).and_then(|text| text.parse().ok())
}

pub(super) const DRIVER_MAX: usize = 63;

/// Faults of the name of a driver, of storage or of devices.
pub(super) fn driver(name: &str, path: &str, causes: &mut Faults) {
    if name.is_empty() {
        causes.push(field::required(path, ""));
    }
    if name.len() > DRIVER_MAX {
        causes.push(field::too_long(path, DRIVER_MAX));
    }
    syntax(names::dns_subdomain(&name.to_lowercase()), name, path, causes);
}
