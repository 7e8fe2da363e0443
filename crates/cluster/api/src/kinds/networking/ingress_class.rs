//! `IngressClass`.

use super::columns::{Column, age, name};
use super::{Faults, GROUP, KindRow, Place, Scope, meta, reference};
use crate::kinds::value::{at, object_mut, set_default, text};
use hako_kube::{field, names};
use jiff::Timestamp;
use serde_json::Value;

pub(in crate::kinds) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    scope: Scope::Cluster,
    type_name: "io.k8s.api.networking.v1.IngressClass",
    columns: &[
        Column::NAME,
        Column::text("Controller", "The controller that handles Ingresses of this class."),
        Column::text("Parameters", "Where the controller finds more settings for this class."),
        Column::AGE,
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_create: meta::start,
    prepare_update: meta::count_generation,
    ..KindRow::BASE
};

const CONTROLLER_MAX: usize = 250;

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, &["spec", "controller"]).into(), parameters(object), age(object, now)]
}

/// `kind.group/name`.
fn parameters(object: &Value) -> Value {
    let Some(parameters) = at(object, &["spec", "parameters"]) else { return "<none>".into() };
    let mut shown = text(parameters, &["kind"]).to_owned();
    if let Some(group) = at(parameters, &["apiGroup"]).and_then(Value::as_str) {
        shown = format!("{shown}.{group}");
    }
    format!("{shown}/{}", text(parameters, &["name"])).into()
}

fn default(object: &mut Value) {
    if at(object, &["spec", "parameters"]).is_some()
        && let Some(parameters) = object_mut(object, &["spec", "parameters"])
    {
        set_default(parameters, "scope", "Cluster");
    }
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    controller(&spec.at(&["controller"]), &mut faults);
    let parameters = spec.at(&["parameters"]);
    if parameters.is_set() {
        reference(&parameters, &mut faults);
        scope(&parameters, &mut faults);
    }
    faults
}

/// A domain, a slash, and what a path may have.
fn controller(controller: &Place<'_>, faults: &mut Faults) {
    let text = controller.text();
    if text.len() > CONTROLLER_MAX {
        faults.push(field::too_long(controller.path(), CONTROLLER_MAX));
    }
    faults.extend(names::domain_prefixed_path(&controller.path(), text));
}

fn scope(parameters: &Place<'_>, faults: &mut Faults) {
    let (scope, namespace) = (parameters.at(&["scope"]), parameters.at(&["namespace"]));
    match scope.text() {
        "Namespace" if !namespace.is_set() => {
            faults.push(namespace.required("`parameters.scope` is set to 'Namespace'"));
        }
        "Namespace" => namespace.check(names::dns_label, faults),
        "Cluster" if namespace.is_set() => {
            faults.push(namespace.forbidden("`parameters.scope` is set to 'Cluster'"));
        }
        "Cluster" => {}
        _ => faults.push(scope.not_supported(&["Cluster", "Namespace"])),
    }
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut faults = Faults::new();
    let controller = |object| Place::of(object).at(&["spec", "controller"]);
    controller(new).immutable(&controller(old), &mut faults);
    faults
}
