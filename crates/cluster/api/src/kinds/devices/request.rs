//! What a claim asks for: requests, constraints among them, configuration for them.

use super::super::place::{Faults, Place};
use super::super::value::{each_mut, object_mut, set_default};
use super::{EFFECTS, all, configuration, qualified, selectors, set};
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

/// All faults of the spec of a claim.
pub(super) fn validate(spec: &Place<'_>, faults: &mut Faults) {
    let devices = spec.at(&["devices"]);
    set(&devices.at(&["requests"]), LIST_MAX, Some("name"), faults, request);
    all(&devices.at(&["constraints"]), LIST_MAX, faults, |constraint, faults| {
        references(spec, constraint, faults);
        attribute(constraint, faults);
    });
    all(&devices.at(&["config"]), LIST_MAX, faults, |config, faults| {
        references(spec, config, faults);
        configuration(config, faults);
    });
}

fn request(request: &Place<'_>, faults: &mut Faults) {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    request.at(&["name"]).check(names::dns_label, faults);
    let (exactly, alternatives) = (request.at(&["exactly"]), request.at(&["firstAvailable"]));
    match (exactly.is_set(), alternatives.is_empty()) {
        (false, true) => faults.push(request.required(ONE)),
        (true, false) => {
            let detail = format!("{ONE}, but multiple fields are set");
            faults.push(field::invalid(request.path(), Value::Null, &detail));
        }
        (true, true) => one(&exactly, faults),
        (false, false) => {
            set(&alternatives, ALTERNATIVES_MAX, Some("name"), faults, |alternative, faults| {
                alternative.at(&["name"]).check(names::dns_label, faults);
                one(alternative, faults);
            })
        }
    }
}

fn one(request: &Place<'_>, faults: &mut Faults) {
    request.at(&["deviceClassName"]).check_required(names::dns_subdomain, faults);
    selectors(&request.at(&["selectors"]), faults);
    let (mode, count) = (request.at(&["allocationMode"]), request.at(&["count"]));
    match mode.text() {
        "All" if count.number() != 0 => {
            faults.push(count.invalid("must not be specified when allocationMode is 'All'"));
        }
        "ExactCount" if count.number() <= 0 => {
            faults.push(count.invalid_number("must be greater than zero"));
        }
        _ => mode.one_of(&["All", "ExactCount"], faults),
    }
    all(&request.at(&["tolerations"]), TOLERATIONS_MAX, faults, toleration);
}

fn toleration(toleration: &Place<'_>, faults: &mut Faults) {
    toleration.at(&["key"]).check_given(names::qualified_name, faults);
    let (operator, value) = (toleration.at(&["operator"]), toleration.at(&["value"]));
    match operator.text() {
        "Exists" if !value.text().is_empty() => {
            faults.push(value.invalid("must be empty for operator `Exists`"));
        }
        "Exists" => {}
        "Equal" => value.check(names::label_value, faults),
        "" => faults.push(operator.required("")),
        _ => operator.one_of(&["Equal", "Exists"], faults),
    }
    let effect = toleration.at(&["effect"]);
    if !effect.text().is_empty() {
        effect.one_of(&EFFECTS, faults);
    }
}

/// Faults of the requests that a constraint or configuration names.
pub(super) fn references(spec: &Place<'_>, object: &Place<'_>, faults: &mut Faults) {
    set(&object.at(&["requests"]), LIST_MAX, None, faults, |name, faults| reference(spec, name, faults));
}

/// Faults of the name of one of a claim's requests.
pub(super) fn reference(spec: &Place<'_>, name: &Place<'_>, faults: &mut Faults) {
    let parts: Vec<&str> = name.text().split('/').collect();
    if parts.len() > 2 {
        faults.push(name.invalid(REFERENCE));
        return;
    }
    for part in &parts {
        faults.extend(names::dns_label(part).iter().map(|fault| field::invalid(name.path(), *part, fault)));
    }
    let is_named = |it: &Place<'_>, wanted: &str| it.at(&["name"]).text() == wanted;
    let is_known = spec.at(&["devices", "requests"]).items().any(|request| {
        let mut inner = parts[1..].iter();
        let alternatives = Vec::from_iter(request.at(&["firstAvailable"]).items());
        is_named(&request, parts[0]) && inner.all(|inner| alternatives.iter().any(|it| is_named(it, inner)))
    });
    if !is_known {
        faults.push(name.invalid_text(REFERENCE));
    }
}

fn attribute(constraint: &Place<'_>, faults: &mut Faults) {
    const DETAIL: &str =
        "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
    let names = ["matchAttribute", "distinctAttribute"].map(|name| constraint.at(&[name]));
    let Some(name) = names.iter().find(|name| name.is_set()) else {
        faults.push(constraint.required(DETAIL));
        return;
    };
    qualified(name.text(), &name.path(), faults);
    if !name.text().contains('/') {
        faults.push(name.invalid("a fully qualified name must be a domain and a name separated by a slash"));
    }
}
