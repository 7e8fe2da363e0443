//! `Node`.

use super::columns::{Column, age, name, or_none};
use super::meta;
use super::row::{KindRow, Scope, Subresource};
use super::value::{at, items, members, text};
use hako_error::FieldCause;
use hako_kube::{field, names};
use jiff::Timestamp;
use serde_json::Value;

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
    validate,
    validate_update,
    prepare_create: meta::no_generation,
    prepare_update,
    selectable,
    selectable_fields: &["spec.unschedulable"],
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

fn validate(object: &Value) -> Vec<FieldCause> {
    let mut causes = Vec::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in items(object, &["spec", "taints"]).iter().enumerate() {
        let path = field::index("spec.taints", index);
        let (key, effect) = (text(taint, &["key"]), text(taint, &["effect"]));
        let of = |fault: String| field::invalid(field::child(&path, "key"), key, &fault);
        causes.extend(names::qualified_name(key).into_iter().map(of));
        let value = text(taint, &["value"]);
        let of = |fault: String| field::invalid(field::child(&path, "value"), value, &fault);
        causes.extend(names::label_value(value).into_iter().map(of));
        match effect {
            "" => causes.push(field::required(field::child(&path, "effect"), "")),
            "NoSchedule" | "PreferNoSchedule" | "NoExecute" => {}
            other => causes.push(field::not_supported(
                field::child(&path, "effect"),
                other,
                &["NoExecute", "NoSchedule", "PreferNoSchedule"],
            )),
        }
        if seen.contains(&(key, effect)) {
            causes.push(field::duplicate(&path, taint.clone()));
        }
        seen.push((key, effect));
    }
    causes
}

fn validate_update(new: &Value, old: &Value) -> Vec<FieldCause> {
    let mut causes = Vec::new();
    for name in ["podCIDR", "podCIDRs", "providerID"] {
        let (is, was) = (at(new, &["spec", name]), at(old, &["spec", name]));
        if was.is_some() && is != was {
            causes.push(field::forbidden(
                field::child("spec", name),
                "node updates may not change this field except from empty to a value",
            ));
        }
    }
    causes
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
