//! `Pod`.

use super::columns::{Column, age, name, or_none};
use super::row::{KindRow, Subresource};
use super::value::{at, items, number, object_mut, set_default, text};
use super::{meta, pod_gates, pod_parts, pod_spec, pod_status};
use hako_error::FieldCause;
use hako_kube::field;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

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
    validate_update,
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
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    set_default(spec, "enableServiceLinks", true);
    pod_spec::default(spec);
    pod_spec::default_requests(spec);
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

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
     `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
     tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

fn validate_update(new: &Value, old: &Value) -> Vec<FieldCause> {
    let mut causes = Vec::new();
    deadline(new, old, &mut causes);
    causes.extend(pod_gates::validate_update(new, old));
    let had = items(old, &["spec", "tolerations"]);
    let has = items(new, &["spec", "tolerations"]);
    if !had.iter().all(|toleration| has.iter().any(|it| same_toleration(it, toleration))) {
        causes.push(field::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    let (mut is, mut was) = (new.clone(), old.clone());
    for object in [&mut is, &mut was] {
        strip_updatable(object);
    }
    let (is, was) = (is.get("spec"), was.get("spec"));
    if is != was {
        let changed = changed_fields(is, was);
        causes.push(field::forbidden("spec", &format!("{UPDATABLE}; changed: {}", changed.join(", "))));
    }
    causes
}

fn deadline(new: &Value, old: &Value, causes: &mut Vec<FieldCause>) {
    const PATH: &str = "spec.activeDeadlineSeconds";
    let seconds = |object: &Value| number(object, &["spec", "activeDeadlineSeconds"]);
    match (seconds(new), seconds(old)) {
        (Some(is), Some(was)) if is > was => {
            let detail = "must be less than or equal to previous value";
            causes.push(field::invalid(PATH, is, detail));
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            causes.push(field::invalid(PATH, Value::Null, detail));
        }
        _ => {}
    }
}

fn same_toleration(one: &Value, other: &Value) -> bool {
    ["key", "operator", "value", "effect"].iter().all(|name| text(one, &[name]) == text(other, &[name]))
}

fn strip_updatable(object: &mut Value) {
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    for name in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        spec.remove(name);
    }
    if spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds < 0) {
        spec.insert("terminationGracePeriodSeconds".to_owned(), json!(1));
    }
    for part in ["containers", "initContainers"] {
        for container in super::value::each_mut(spec, part) {
            container.remove("image");
        }
    }
}

fn changed_fields(is: Option<&Value>, was: Option<&Value>) -> Vec<String> {
    let empty = Map::new();
    let map =
        |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_else(|| empty.clone());
    let (is, was) = (map(is), map(was));
    let mut names: Vec<String> = is.keys().chain(was.keys()).cloned().collect();
    names.sort();
    names.dedup();
    names.retain(|name| is.get(name) != was.get(name));
    names.iter().map(|name| format!("spec.{name}")).collect()
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
