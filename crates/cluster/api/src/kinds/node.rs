//! `Node`.

use super::columns::{Column, age, name, or_none};
use super::place::{Faults, Place};
use super::row::{KindRow, Scope, Subresource};
use super::value::{at, items, members, text};
use super::{addresses, check, meta, resource_names};
use hako_kube::{field, names};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashSet;

pub(super) const ROW: KindRow = KindRow {
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    scope: Scope::Cluster,
    subresources: &[Subresource::proxy("NodeProxyOptions"), Subresource::status("", "v1", "Node")],
    type_name: "io.k8s.api.core.v1.Node",
    columns: &[
        Column::NAME,
        Column::text("Status", "The status of the node"),
        Column::text("Roles", "The roles of the node"),
        Column::AGE,
        Column::text("Version", "The version of the node agent."),
        Column::text("Internal-IP", "The address inside the cluster.").wide(),
        Column::text("External-IP", "The address outside the cluster.").wide(),
        Column::text("OS-Image", "The operating system.").wide(),
        Column::text("Kernel-Version", "The kernel.").wide(),
        Column::text("Container-Runtime", "The container runtime.").wide(),
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_create: meta::no_generation,
    prepare_update,
    selectable,
    selectable_fields: &["spec.unschedulable"],
    warnings: super::warnings::node,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let info = |field: &str| text(object, &["status", "nodeInfo", field]).to_owned();
    let or_unknown = |text: String| if text.is_empty() { "<unknown>".to_owned() } else { text };
    vec![
        name(object),
        status(object).into(),
        roles(object).into(),
        age(object, now),
        info("kubeletVersion").into(),
        or_none(address(object, "InternalIP")),
        or_none(address(object, "ExternalIP")),
        or_unknown(info("osImage")).into(),
        or_unknown(info("kernelVersion")).into(),
        or_unknown(info("containerRuntimeVersion")).into(),
    ]
}

fn status(object: &Value) -> String {
    let ready = items(object, &["status", "conditions"])
        .iter()
        .find(|condition| text(condition, &["type"]) == "Ready");
    let mut status = match ready.map(|condition| text(condition, &["status"])) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if at(object, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(object: &Value) -> String {
    let mut roles: Vec<&str> = members(object, &["metadata", "labels"])
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some("") | None if key == "kubernetes.io/role" => value.as_str(),
            Some(role) if !role.is_empty() => Some(role),
            _ => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn address<'a>(object: &'a Value, kind: &str) -> &'a str {
    items(object, &["status", "addresses"])
        .iter()
        .find(|address| text(address, &["type"]) == kind)
        .map_or("", |address| text(address, &["address"]))
}

fn validate(object: &Value) -> Faults {
    let (node, mut faults) = (Place::of(object), Faults::new());
    taints(&node.at(&["spec", "taints"]), &mut faults);
    ranges(&node.at(&["spec", "podCIDRs"]), &mut faults);
    for list in ["capacity", "allocatable"] {
        for (name, value) in node.at(&["status", list]).entries() {
            let path = field::child(&field::child("status", list), name);
            if let Some(amount) = check::quantity(Some(value.value)) {
                resource_names::amount(name, amount, &path, &mut faults);
            }
        }
    }
    let mut seen = HashSet::new();
    for address in node.at(&["status", "addresses"]).items() {
        if !seen.insert(address.value) {
            faults.push(address.duplicate());
        }
    }
    faults
}

/// The original says of these that they are in the metadata.
fn taints(taints: &Place<'_>, faults: &mut Faults) {
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    for (index, taint) in taints.items().enumerate() {
        let taint = Place::shown(taint.value, &field::index("metadata.taints", index));
        let (key, value, effect) = (taint.at(&["key"]), taint.at(&["value"]), taint.at(&["effect"]));
        key.check(names::qualified_name, faults);
        let complaints = names::label_value(value.text());
        if !complaints.is_empty() {
            faults.push(value.invalid(&complaints.join(";")));
        }
        if effect.is_empty() {
            faults.push(effect.required(""));
        } else {
            effect.one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"], faults);
        }
        if !seen.insert((key.text(), effect.text())) {
            let mut fault = taint.duplicate();
            fault.message.push_str(": taints must be unique by key and effect pair");
            faults.push(fault);
        }
    }
}

/// One range of addresses of each family.
fn ranges(ranges: &Place<'_>, faults: &mut Faults) {
    let list = Vec::from_iter(ranges.items());
    let mut seen = HashSet::new();
    for range in &list {
        range.check(addresses::cidr, faults);
        if !seen.insert(range.value) {
            faults.push(range.duplicate());
        }
    }
    let of_v6 = list.iter().filter(|range| range.text().contains(':')).count();
    if list.len() > 2 || (list.len() == 2 && of_v6 != 1) {
        faults.push(ranges.invalid("may specify no more than one CIDR for each IP family"));
    }
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    for (name, shown) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let (is, was) = (at(new, &["spec", name]), at(old, &["spec", name]));
        let was_given = was.is_some_and(|was| was != "" && was != &serde_json::json!([]));
        if was_given && is != was {
            let detail = format!("node updates may not change {shown} except from \"\" to valid");
            causes.push(field::forbidden(field::child("spec", name), &detail));
        }
    }
    if at(new, &["spec", "externalID"]) != at(old, &["spec", "externalID"]) {
        causes.push(field::forbidden("spec.externalID", "may not be updated"));
    }
    causes
}

/// What a node has is what it gives, unless it says otherwise.
fn default(object: &mut Value) {
    let capacity = at(object, &["status", "capacity"]).cloned();
    if let (Some(capacity), None) = (capacity, at(object, &["status", "allocatable"]))
        && let Some(status) = super::value::object_mut(object, &["status"])
    {
        status.insert("allocatable".to_owned(), capacity);
    }
    same_range(object);
}

/// The one range of a node and the first of its ranges are the same.
fn same_range(object: &mut Value) {
    let first = at(object, &["spec", "podCIDRs"]).and_then(|all| all.get(0)).cloned();
    let one = at(object, &["spec", "podCIDR"]).filter(|one| *one != "").cloned();
    let (name, value) = match (one, first) {
        (Some(one), None) => ("podCIDRs", serde_json::json!([one])),
        (None, Some(first)) => ("podCIDR", first),
        _ => return,
    };
    if let Some(spec) = super::value::object_mut(object, &["spec"]) {
        spec.insert(name.to_owned(), value);
    }
}

/// A node may be created with its status, as an agent that registers itself does.
fn prepare_update(new: &mut Value, old: &Value) {
    meta::keep_status(new, old);
    meta::no_generation(new);
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    let is = at(object, &["spec", "unschedulable"]) == Some(&Value::Bool(true));
    vec![("spec.unschedulable", is.to_string())]
}
