//! What a claim asks for: requests, constraints among them, configuration for them.

use super::super::check;
use super::super::value::{each_mut, items, number, object_mut, set_default, text};
use super::{at_most, configuration, each, label, selectors, unique};
use hako_error::FieldCause;
use hako_kube::{field, names};
use serde_json::{Map, Value, json};

const LIST_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const TOLERATIONS_MAX: usize = 16;
const REFERENCE: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

/// Fills in a claim's spec.
pub(super) fn default(spec: &mut Value) {
    let Some(devices) = object_mut(spec, &["devices"]) else { return };
    for request in each_mut(devices, "requests") {
        if let Some(exactly) = request.get_mut("exactly").and_then(Value::as_object_mut) {
            amount(exactly);
        }
        each_mut(request, "firstAvailable").for_each(amount);
    }
}

fn amount(request: &mut Map<String, Value>) {
    set_default(request, "allocationMode", "ExactCount");
    if request.get("allocationMode") == Some(&json!("ExactCount")) {
        set_default(request, "count", 1);
    }
    each_mut(request, "tolerations").for_each(|toleration| set_default(toleration, "operator", "Equal"));
}

/// All faults of the spec of a claim at a path.
pub(super) fn validate(spec: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    let (devices, path) = (&spec["devices"], field::child(path, "devices"));
    let list = |name: &str| items(devices, &[name]);
    for name in ["requests", "constraints", "config"] {
        at_most(list(name), LIST_MAX, &field::child(&path, name), causes);
    }
    unique(list("requests"), Some("name"), &field::child(&path, "requests"), causes);
    for (request, path) in each(devices, "requests", &path) {
        self::request(request, &path, causes);
    }
    for (constraint, path) in each(devices, "constraints", &path) {
        references(spec, constraint, &path, causes);
        attribute(constraint, &path, causes);
    }
    for (config, path) in each(devices, "config", &path) {
        references(spec, config, &path, causes);
        configuration(config, &path, causes);
    }
}

fn request(request: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    label(request, "name", path, causes);
    let alternatives = items(request, &["firstAvailable"]);
    match (request.get("exactly"), alternatives.is_empty()) {
        (None, true) => causes.push(field::required(path, ONE)),
        (Some(_), false) => {
            let detail = format!("{ONE}, but multiple fields are set");
            causes.push(field::invalid(path, Value::Null, &detail));
        }
        (Some(exactly), true) => one(exactly, &field::child(path, "exactly"), causes),
        (None, false) => {
            let list = field::child(path, "firstAvailable");
            at_most(alternatives, ALTERNATIVES_MAX, &list, causes);
            unique(alternatives, Some("name"), &list, causes);
            for (alternative, path) in each(request, "firstAvailable", path) {
                label(alternative, "name", &path, causes);
                one(alternative, &path, causes);
            }
        }
    }
}

fn one(request: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    let (class, class_path) = (text(request, &["deviceClassName"]), field::child(path, "deviceClassName"));
    if class.is_empty() {
        causes.push(field::required(class_path, ""));
    } else {
        check::syntax(names::dns_subdomain(class), class, &class_path, causes);
    }
    selectors(items(request, &["selectors"]), &field::child(path, "selectors"), causes);
    let (mode, count) = (text(request, &["allocationMode"]), number(request, &["count"]).unwrap_or(0));
    let count_path = field::child(path, "count");
    match mode {
        "All" if count != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            causes.push(field::invalid(count_path, count, detail));
        }
        "ExactCount" if count <= 0 => {
            causes.push(field::invalid(count_path, count, "must be greater than zero"));
        }
        "All" | "ExactCount" => {}
        other => {
            let path = field::child(path, "allocationMode");
            causes.push(field::not_supported(path, other, &["All", "ExactCount"]));
        }
    }
    at_most(items(request, &["tolerations"]), TOLERATIONS_MAX, &field::child(path, "tolerations"), causes);
    for (toleration, path) in each(request, "tolerations", path) {
        self::toleration(toleration, &path, causes);
    }
}

fn toleration(toleration: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    let (key, value) = (text(toleration, &["key"]), text(toleration, &["value"]));
    if !key.is_empty() {
        check::syntax(names::qualified_name(key), key, &field::child(path, "key"), causes);
    }
    let (operator, operator_path) = (text(toleration, &["operator"]), field::child(path, "operator"));
    match operator {
        "Exists" if !value.is_empty() => {
            let detail = "must be empty for operator `Exists`";
            causes.push(field::invalid(field::child(path, "value"), value, detail));
        }
        "Equal" if key.is_empty() => {
            let detail = "must be `Exists` when key is empty";
            causes.push(field::invalid(operator_path, operator, detail));
        }
        "Exists" | "Equal" => {}
        "" => causes.push(field::required(operator_path, "")),
        other => causes.push(field::not_supported(operator_path, other, &["Equal", "Exists"])),
    }
    check::one_of(toleration, "effect", &["NoExecute", "NoSchedule"], path, causes);
}

/// Faults of the requests that a constraint or configuration names.
pub(super) fn references(spec: &Value, object: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    let list = items(object, &["requests"]);
    let list_path = field::child(path, "requests");
    at_most(list, LIST_MAX, &list_path, causes);
    unique(list, None, &list_path, causes);
    for (reference, path) in each(object, "requests", path) {
        self::reference(spec, reference.as_str().unwrap_or(""), &path, causes);
    }
}

/// A fault where a claim has no request of a name.
pub(super) fn reference(spec: &Value, name: &str, path: &str, causes: &mut Vec<FieldCause>) {
    let (outer, inner) = name.split_once('/').map_or((name, None), |(outer, inner)| (outer, Some(inner)));
    let named = |list: &'_ [Value], wanted: &str| list.iter().any(|it| text(it, &["name"]) == wanted);
    let requests = items(spec, &["devices", "requests"]);
    let is_known = requests.iter().any(|request| {
        text(request, &["name"]) == outer
            && inner.is_none_or(|inner| named(items(request, &["firstAvailable"]), inner))
    });
    if !is_known {
        causes.push(field::invalid(path, name, REFERENCE));
    }
}

fn attribute(constraint: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    for name in ["matchAttribute", "distinctAttribute"] {
        let Some(attribute) = constraint.get(name).and_then(Value::as_str) else { continue };
        let path = field::child(path, name);
        match attribute.split_once('/') {
            Some((domain, _)) => check::syntax(names::dns_subdomain(domain), attribute, &path, causes),
            None => causes.push(field::invalid(path, attribute, "must include a domain")),
        }
        return;
    }
    let detail =
        "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
    causes.push(field::required(path, detail));
}
