//! `ResourceQuota`.

use super::columns::{Column, age, name};
use super::row::{KindRow, Subresource};
use super::value::{items, members, text};
use super::workload::default_status;
use super::{check, meta, resource_names};
use hako_kube::field::{self, Faults};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) const ROW: KindRow = KindRow {
    kind: "ResourceQuota",
    plural: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    subresources: &[Subresource::status("", "v1", "ResourceQuota")],
    type_name: "io.k8s.api.core.v1.ResourceQuota",
    columns: &[
        Column::NAME,
        Column::text("Request", "What is used of what may be requested or made."),
        Column::text("Limit", "What is used of what limits may add up to."),
        Column::AGE,
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_create: meta::start_uncounted,
    prepare_update: meta::keep_status_uncounted,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let mut hard: Vec<_> = members(object, &["status", "hard"]).collect();
    hard.sort_by_key(|(name, _)| name.as_str());
    for (name, hard) in hard {
        let used = object["status"]["used"].get(name).and_then(Value::as_str).unwrap_or("0");
        let column = if name.starts_with("limits.") { &mut limits } else { &mut requests };
        column.push(format!("{name}: {used}/{}", hard.as_str().unwrap_or("0")));
    }
    vec![name(object), requests.join(", ").into(), limits.join(", ").into(), age(object, now)]
}

fn default(object: &mut Value) {
    default_status(object, &[]);
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    for (part, list) in [("spec", "hard"), ("status", "hard"), ("status", "used")] {
        for (name, value) in members(object, &[part, list]) {
            let path = field::key(&field::child(part, list), name);
            resource_names::of_quota(name, &path, &mut causes);
            if let Some(amount) = check::quantity(Some(value)) {
                resource_names::amount(name, amount, &path, &mut causes);
            }
        }
    }
    let spec = &object["spec"];
    scopes(spec, &mut causes);
    selector(spec, &mut causes);
    causes
}

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Whether a scope chooses among the objects that a resource counts.
fn fits(scope: &str, resource: &str) -> bool {
    let is_compute = matches!(
        resource,
        "cpu" | "memory" | "requests.cpu" | "requests.memory" | "limits.cpu" | "limits.memory"
    );
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        scope if SCOPES.contains(&scope) => resource == "pods" || is_compute,
        _ => true,
    }
}

/// The standard resources of a quota that a scope does not choose among.
fn misfits<'a>(spec: &'a Value, scope: &'a str) -> impl Iterator<Item = &'a String> {
    let hard = members(spec, &["hard"]).map(|(name, _)| name);
    hard.filter(move |name| resource_names::is_quota(name) && !fits(scope, name))
}

fn has_conflict(scopes: &BTreeSet<&str>) -> bool {
    let has_both = |one: &str, other: &str| scopes.contains(one) && scopes.contains(other);
    has_both("BestEffort", "NotBestEffort") || has_both("Terminating", "NotTerminating")
}

fn scopes(spec: &Value, causes: &mut Faults) {
    const PATH: &str = "spec.scopes";
    let all = spec["scopes"].clone();
    let scopes: Vec<&str> = items(spec, &["scopes"]).iter().filter_map(Value::as_str).collect();
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            causes.push(field::invalid(PATH, all.clone(), "unsupported scope"));
        }
        let of = |_| field::invalid(PATH, all.clone(), "unsupported scope applied to resource");
        causes.extend(misfits(spec, scope).map(of));
    }
    if has_conflict(&scopes.into_iter().collect()) {
        causes.push(field::invalid(PATH, all, "conflicting scopes"));
    }
}

const EXISTS_ONLY: &str = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
     ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
     ResourceQuotaScopeCrossNamespacePodAffinity";

fn selector(spec: &Value, causes: &mut Faults) {
    const PATH: &str = "spec.scopeSelector.matchExpressions";
    let expressions = items(spec, &["scopeSelector", "matchExpressions"]);
    for expression in expressions {
        let scope = text(expression, &["scopeName"]);
        if !SCOPES.contains(&scope) {
            causes.push(field::invalid(field::child(PATH, "scopeName"), scope, "unsupported scope"));
        }
        let detail = "unsupported scope applied to resource";
        let of = |_| field::invalid(PATH, spec["scopeSelector"].clone(), detail);
        causes.extend(misfits(spec, scope).map(of));
        operator(expression, PATH, causes);
    }
    let scopes = expressions.iter().map(|expression| text(expression, &["scopeName"])).collect();
    if has_conflict(&scopes) {
        causes.push(field::invalid(PATH, spec["scopes"].clone(), "conflicting scopes"));
    }
}

fn operator(expression: &Value, path: &str, causes: &mut Faults) {
    let (scope, operator) = (text(expression, &["scopeName"]), text(expression, &["operator"]));
    let operator_path = field::child(path, "operator");
    let values = items(expression, &["values"]);
    let has_values = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
    if SCOPES.contains(&scope) && !has_values && operator != "Exists" {
        causes.push(field::invalid(&operator_path, operator, EXISTS_ONLY));
    }
    let path = field::child(path, "values");
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            causes.push(field::required(path, detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            causes.push(field::invalid(path, values, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => causes.push(field::invalid(operator_path, other, "not a valid selector operator")),
    }
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let scopes = |object: &Value| -> BTreeSet<String> {
        items(object, &["spec", "scopes"]).iter().map(Value::to_string).collect()
    };
    if scopes(new) == scopes(old) {
        return Faults::new();
    }
    Faults::from([field::invalid("spec.scopes", new["spec"]["scopes"].clone(), check::IMMUTABLE)])
}
