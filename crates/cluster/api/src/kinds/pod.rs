//! `Pod`.

use super::columns::{Column, age, name, or_none};
use super::row::{KindRow, Subresource};
use super::value::{at, items, object_mut, set_default, text};
use super::{meta, pod_gates, pod_parts, pod_spec, pod_status, pod_update};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) const ROW: KindRow = KindRow {
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        stream("attach", "PodAttachOptions", &["create", "get"]),
        stream("binding", "Binding", &["create"]),
        Subresource {
            name: "eviction",
            group: "policy",
            version: "v1",
            kind: "Eviction",
            verbs: &["create"],
        },
        stream("exec", "PodExecOptions", &["create", "get"]),
        Subresource { name: "ephemeralcontainers", ..Subresource::status("", "v1", "Pod") },
        stream("log", "Pod", &["get"]),
        stream("portforward", "PodPortForwardOptions", &["create", "get"]),
        Subresource::proxy("PodProxyOptions"),
        Subresource { name: "resize", ..Subresource::status("", "v1", "Pod") },
        Subresource::status("", "v1", "Pod"),
    ],
    type_name: "io.k8s.api.core.v1.Pod",
    columns: &[
        Column::NAME,
        Column::text("Ready", "The aggregate readiness state of this pod for accepting traffic."),
        Column::text("Status", "The aggregate status of the containers in this pod."),
        Column::text("Restarts", "How often the containers were restarted and when last."),
        Column::AGE,
        Column::text("IP", "The pod's address.").wide(),
        Column::text("Node", "Where it runs.").wide(),
        Column::text("Nominated Node", "Where it may run once others are gone.").wide(),
        Column::text("Readiness Gates", "How many of the further conditions hold.").wide(),
    ],
    cells,
    default,
    validate: pod_spec::validate_pod,
    validate_create: pod_parts::validate_create,
    validate_update: pod_update::validate,
    prepare_create,
    prepare_update: meta::keep_status,
    prepare_part: pod_parts::prepare,
    validate_part: pod_parts::validate,
    selectable,
    selectable_fields: &[
        "spec.hostNetwork",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.nominatedNodeName",
        "status.phase",
        "status.podIP",
    ],
    warnings: super::warnings::pod,
    ..KindRow::BASE
};

const fn stream(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Subresource {
    Subresource { name, group: "", version: "v1", kind, verbs }
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let summary = pod_status::summarize(object, now);
    vec![
        name(object),
        summary.ready.into(),
        summary.status.into(),
        summary.restarts.into(),
        age(object, now),
        or_none(text(object, &["status", "podIP"])),
        or_none(text(object, &["spec", "nodeName"])),
        or_none(text(object, &["status", "nominatedNodeName"])),
        or_none(&gates(object)),
    ]
}

fn gates(object: &Value) -> String {
    let gates = items(object, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return String::new();
    }
    let is_true = |gate: &&Value| {
        let kind = text(gate, &["conditionType"]);
        pod_status::is_condition_true(object, kind)
    };
    format!("{}/{}", gates.iter().filter(is_true).count(), gates.len())
}

fn default(object: &mut Value) {
    unite_ips(object);
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    set_default(spec, "enableServiceLinks", true);
    pod_spec::default(spec);
    pod_spec::default_requests(spec);
    pod_spec::default_host_ports(spec);
    pod_spec::default_whole(spec);
    pod_spec::default_resize_policy(spec);
}

/// The one address is the first of all; where they differ it counts, as older kubelets know no other.
fn unite_ips(object: &mut Value) {
    let Some(status) = object_mut(object, &["status"]) else { return };
    let one = status.get("podIP").and_then(Value::as_str).unwrap_or("");
    let first = status.get("podIPs").and_then(|all| all.get(0)?.get("ip")?.as_str()).unwrap_or("");
    if one == first {
        return;
    }
    let (name, value) =
        if one.is_empty() { ("podIP", json!(first)) } else { ("podIPs", json!([{"ip": one}])) };
    status.insert(name.to_owned(), value);
}

fn prepare_create(object: &mut Value) {
    meta::start(object);
    let qos = pod_spec::qos_class(object);
    pod_spec::merge_label_keys(object);
    let mut status = json!({ "phase": "Pending", "qosClass": qos });
    if let Some(condition) = pod_gates::condition(object) {
        status["conditions"] = json!([condition]);
    }
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), status);
    }
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    let get = |path: &[&str]| text(object, path).to_owned();
    let is_host = at(object, &["spec", "hostNetwork"]) == Some(&Value::Bool(true));
    vec![
        ("spec.hostNetwork", is_host.to_string()),
        ("spec.nodeName", get(&["spec", "nodeName"])),
        ("spec.restartPolicy", get(&["spec", "restartPolicy"])),
        ("spec.schedulerName", get(&["spec", "schedulerName"])),
        ("spec.serviceAccountName", get(&["spec", "serviceAccountName"])),
        ("status.nominatedNodeName", get(&["status", "nominatedNodeName"])),
        ("status.phase", get(&["status", "phase"])),
        ("status.podIP", get(&["status", "podIP"])),
    ]
}
