//! `IPAddress`.

use super::columns::{Column, name};
use super::{Faults, GROUP, KindRow, Place, Scope, addresses, place};
use crate::kinds::value::{at, text};
use hako_kube::names;
use jiff::Timestamp;
use serde_json::Value;

pub(in crate::kinds) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "IPAddress",
    plural: "ipaddresses",
    singular: "ipaddress",
    short_names: &["ip"],
    scope: Scope::Cluster,
    type_name: "io.k8s.api.networking.v1.IPAddress",
    columns: &[Column::NAME, Column::text("ParentRef", "What the address was given to.")],
    cells,
    name_faults: addresses::strict_ip,
    validate,
    validate_update,
    ..KindRow::BASE
};

fn cells(object: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(object), parent(object)]
}

/// `resource.group/namespace/name`, without what is empty.
fn parent(object: &Value) -> Value {
    let Some(parent) = at(object, &["spec", "parentRef"]) else { return "<none>".into() };
    let get = |name: &str| text(parent, &[name]);
    let mut shown = get("resource").to_owned();
    if !get("group").is_empty() {
        shown = format!("{shown}.{}", get("group"));
    }
    shown = shown.to_lowercase();
    if !get("namespace").is_empty() {
        shown = format!("{shown}/{}", get("namespace"));
    }
    format!("{shown}/{}", get("name")).into()
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let parent = Place::of(object).at(&["spec", "parentRef"]);
    if !parent.is_set() {
        faults.push(parent.required(""));
        return faults;
    }
    parent.at(&["group"]).check_given(names::dns_subdomain, &mut faults);
    parent.at(&["resource"]).check_required(place::path_segment, &mut faults);
    parent.at(&["name"]).check_required(place::path_segment, &mut faults);
    parent.at(&["namespace"]).check_given(place::path_segment, &mut faults);
    faults
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut faults = Faults::new();
    let parent = |object| Place::of(object).at(&["spec", "parentRef"]);
    parent(new).immutable(&parent(old), &mut faults);
    faults
}
