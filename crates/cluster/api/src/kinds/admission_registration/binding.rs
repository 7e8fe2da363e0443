//! `ValidatingAdmissionPolicyBinding` and `MutatingAdmissionPolicyBinding`.

use super::columns::{Column, age, name};
use super::{CATEGORIES, Faults, GROUP, KindRow, Place, Scope, meta, names, place, rules};
use crate::kinds::value::{at, items, members, object_mut, text};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashSet;

pub(in crate::kinds) const VALIDATING: KindRow = KindRow {
    kind: "ValidatingAdmissionPolicyBinding",
    plural: "validatingadmissionpolicybindings",
    singular: "validatingadmissionpolicybinding",
    type_name: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    validate: |object| {
        let mut faults = validate(object);
        actions(&Place::of(object).at(&["spec", "validationActions"]), &mut faults);
        faults
    },
    ..BASE
};

pub(in crate::kinds) const MUTATING: KindRow = KindRow {
    kind: "MutatingAdmissionPolicyBinding",
    plural: "mutatingadmissionpolicybindings",
    singular: "mutatingadmissionpolicybinding",
    type_name: "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding",
    validate: |object| {
        let mut faults = validate(object);
        rules::mutable(&Place::of(object).at(&["spec", "matchResources"]), &mut faults);
        faults
    },
    ..BASE
};

const BASE: KindRow = KindRow {
    group: GROUP,
    categories: CATEGORIES,
    scope: Scope::Cluster,
    columns: &[
        Column::NAME,
        Column::text("PolicyName", "The policy that it puts in force."),
        Column::text("ParamRef", "The objects that set its parameters."),
        Column::AGE,
    ],
    cells,
    default,
    prepare_create: meta::start,
    prepare_update: meta::count_generation,
    ..KindRow::BASE
};

const EXCLUSIVE: &str = "name and selector are mutually exclusive";

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let policy = text(object, &["spec", "policyName"]);
    vec![name(object), policy.into(), parameters(object), age(object, now)]
}

fn parameters(object: &Value) -> Value {
    let Some(reference) = at(object, &["spec", "paramRef"]) else { return "<unset>".into() };
    let (namespace, name) = (text(reference, &["namespace"]), text(reference, &["name"]));
    match (namespace, name) {
        (_, "") if reference.get("selector").is_some() => selector(&reference["selector"]).into(),
        (_, "") => "<unset>".into(),
        // Whether the objects are in namespaces is not known here.
        ("", name) => format!("*/{name}").into(),
        (namespace, name) => format!("{namespace}/{name}").into(),
    }
}

/// As upstream shows a selector here, which is how its language prints one.
fn selector(selector: &Value) -> String {
    let mut labels: Vec<String> =
        members(selector, &["matchLabels"]).map(|(key, it)| format!("{key}: {},", text(it, &[]))).collect();
    labels.sort();
    let expression = |it: &Value| {
        let values = Place::of(it).at(&["values"]).texts().join(" ");
        let (key, operator) = (text(it, &["key"]), text(it, &["operator"]));
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
    };
    let expressions: String = items(selector, &["matchExpressions"]).iter().map(expression).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}",
        labels.concat()
    )
}

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, &["spec"]) {
        rules::default_resources(spec, "matchResources");
    }
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    spec.at(&["policyName"]).check_required(names::dns_subdomain, &mut faults);
    param_ref(&spec.at(&["paramRef"]), &mut faults);
    rules::resources(&spec.at(&["matchResources"]), &mut faults);
    faults
}

fn param_ref(reference: &Place<'_>, faults: &mut Faults) {
    if !reference.is_set() {
        return;
    }
    let (name, selector) = (reference.at(&["name"]), reference.at(&["selector"]));
    name.check_given(place::path_segment, faults);
    selector.selector(faults);
    match (name.is_empty(), selector.is_set()) {
        (false, true) => faults.extend([name.forbidden(EXCLUSIVE), selector.forbidden(EXCLUSIVE)]),
        (true, false) => faults.push(reference.required("one of name or selector must be specified")),
        _ => {}
    }
    let missing = reference.at(&["parameterNotFoundAction"]);
    if missing.is_empty() {
        faults.push(missing.required(""));
    } else {
        missing.one_of(&["Deny", "Allow"], faults);
    }
}

fn actions(all: &Place<'_>, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for action in all.items() {
        action.one_of(&["Audit", "Deny", "Warn"], faults);
        super::unique(&action, &mut seen, faults);
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        faults.push(all.invalid(
            "must not contain both Deny and Warn (repeating the same validation failure information in the API \
             response and headers serves no purpose)",
        ));
    }
    if seen.is_empty() {
        faults.push(all.required("at least one validation action is required"));
    }
}
