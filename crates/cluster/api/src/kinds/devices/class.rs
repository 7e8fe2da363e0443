//! `DeviceClass`.

use super::super::place::Place;
use super::super::resource_names;
use super::super::row::{KindRow, Scope};
use super::super::value::{number, object_mut};
use super::{GROUP, all, configuration, selectors};
use hako_kube::field::Faults;
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

fn validate(object: &Value) -> Faults {
    let (mut causes, spec) = (Faults::new(), Place::of(object).at(&["spec"]));
    selectors(&spec.at(&["selectors"]), &mut causes);
    all(&spec.at(&["config"]), CONFIG_MAX, &mut causes, configuration);
    let name = spec.at(&["extendedResourceName"]);
    if name.is_set() && !resource_names::is_extended(name.text()) {
        causes.push(name.invalid("must be a valid extended resource name"));
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
