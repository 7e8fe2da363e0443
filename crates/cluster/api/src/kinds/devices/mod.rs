//! The kinds of `resource.k8s.io`: devices, and claims to them.
//!
//! Owns: how devices are offered, classified and claimed as written. Does not own: allocation, nor the language of
//! the selectors, whose expressions are kept as they are.
//! Invariant: a claim asks for the same as long as it exists.

pub(super) mod claim;
pub(super) mod class;
mod request;
mod result;
pub(super) mod slice;
pub(super) mod template;

use super::check;
use super::value::{items, text};
use hako_error::FieldCause;
use hako_kube::{field, names};
use serde_json::Value;

const GROUP: &str = "resource.k8s.io";
const EXPRESSION_MAX: usize = 10 << 10;
const PARAMETERS_MAX: usize = 10 << 10;
const SELECTORS_MAX: usize = 32;
const POOL_MAX: usize = 253;

/// A fault where a list has too many items.
fn at_most(list: &[Value], max: usize, path: &str, causes: &mut Vec<FieldCause>) {
    if list.len() > max {
        causes.push(field::too_many(path, list.len(), max));
    }
}

/// A fault for each item that says the same as an earlier one: of itself, or of the member that is its key.
fn unique(list: &[Value], key: Option<&str>, path: &str, causes: &mut Vec<FieldCause>) {
    let said = |item: &Value| key.map_or(item, |key| &item[key]).clone();
    let said: Vec<Value> = list.iter().map(said).collect();
    for (index, value) in said.iter().enumerate().filter(|(index, value)| said[..*index].contains(value)) {
        causes.push(field::duplicate(field::index(path, index), value.clone()));
    }
}

/// Faults of the expressions that choose devices.
fn selectors(list: &[Value], path: &str, causes: &mut Vec<FieldCause>) {
    at_most(list, SELECTORS_MAX, path, causes);
    for (index, selector) in list.iter().enumerate() {
        let path = field::child(&field::index(path, index), "cel");
        match selector.get("cel") {
            None => causes.push(field::required(path, "")),
            Some(cel) if text(cel, &["expression"]).len() > EXPRESSION_MAX => {
                causes.push(field::too_long(field::child(&path, "expression"), EXPRESSION_MAX));
            }
            Some(_) => {}
        }
    }
}

/// Faults of what a driver alone understands.
fn configuration(config: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    let path = field::child(path, "opaque");
    let Some(opaque) = config.get("opaque") else {
        causes.push(field::required(path, ""));
        return;
    };
    check::driver(text(opaque, &["driver"]), &field::child(&path, "driver"), causes);
    let path = field::child(&path, "parameters");
    match opaque.get("parameters") {
        None => causes.push(field::required(path, "")),
        Some(parameters) if parameters.to_string().len() > PARAMETERS_MAX => {
            causes.push(field::too_long(path, PARAMETERS_MAX));
        }
        Some(parameters) if !parameters.is_object() => {
            let detail = "parameters must be a valid JSON object";
            causes.push(field::invalid(path, "<value omitted>", detail));
        }
        Some(_) => {}
    }
}

/// Faults of the name of a pool: names of domains with slashes between them.
fn pool(name: &str, path: &str, causes: &mut Vec<FieldCause>) {
    if name.is_empty() {
        causes.push(field::required(path, ""));
        return;
    }
    if name.len() > POOL_MAX {
        causes.push(field::too_long(path, POOL_MAX));
    }
    for part in name.split('/') {
        check::syntax(names::dns_subdomain(part), part, path, causes);
    }
}

/// Faults of a name that is one label.
fn label(object: &Value, member: &str, path: &str, causes: &mut Vec<FieldCause>) {
    let name = text(object, &[member]);
    check::syntax(names::dns_label(name), name, &field::child(path, member), causes);
}

/// The items of a list, each with its path.
fn each<'a>(object: &'a Value, name: &'a str, path: &'a str) -> impl Iterator<Item = (&'a Value, String)> {
    let path = field::child(path, name);
    items(object, &[name]).iter().enumerate().map(move |(index, item)| (item, field::index(&path, index)))
}
