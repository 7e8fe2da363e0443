//! `DeviceClass`.

use super::super::resource_names;
use super::super::row::{KindRow, Scope};
use super::super::value::{items, number, object_mut};
use super::{GROUP, at_most, configuration, each, selectors};
use hako_error::FieldCause;
use hako_kube::field;
use serde_json::Value;

pub(in super::super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "DeviceClass",
    plural: "deviceclasses",
    singular: "deviceclass",
    scope: Scope::Cluster,
    type_name: "io.k8s.api.resource.v1.DeviceClass",
    validate,
    prepare_create: super::super::meta::start,
    prepare_update,
    ..KindRow::BASE
};

const CONFIG_MAX: usize = 32;

fn validate(object: &Value) -> Vec<FieldCause> {
    let (mut causes, spec) = (Vec::new(), &object["spec"]);
    selectors(items(spec, &["selectors"]), "spec.selectors", &mut causes);
    at_most(items(spec, &["config"]), CONFIG_MAX, "spec.config", &mut causes);
    for (config, path) in each(spec, "config", "spec") {
        configuration(config, &path, &mut causes);
    }
    if let Some(name) = spec.get("extendedResourceName").and_then(Value::as_str)
        && !resource_names::is_extended(name)
    {
        let detail = "must be a valid extended resource name";
        causes.push(field::invalid("spec.extendedResourceName", name, detail));
    }
    causes
}

/// It has no status: only the spec counts.
fn prepare_update(new: &mut Value, old: &Value) {
    let generation = number(old, &["metadata", "generation"]).unwrap_or(0);
    let changed = generation + i64::from(new.get("spec") != old.get("spec"));
    if let Some(metadata) = object_mut(new, &["metadata"]) {
        metadata.insert("generation".to_owned(), changed.into());
    }
}
