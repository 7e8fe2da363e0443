//! The parts of a pod that change its spec: containers added to look into it, and resources of containers that run.

use super::row::PartWrite;
use super::value::{at, each_mut, items, object_mut, text};
use super::{meta, pod_annotations, pod_spec, pod_state};
use hako_kube::field::{self, Faults};
use serde_json::Value;
use std::collections::HashMap;

const EPHEMERAL: &str = "ephemeralContainers";
const EPHEMERAL_PATH: &str = "spec.ephemeralContainers";
const RUNNING: [&str; 2] = ["containers", "initContainers"];
const MUTABLE: [&str; 2] = ["cpu", "memory"];

/// Keeps of the old pod all but what the part is about.
pub(super) fn prepare(new: &mut Value, old: &Value, part: &PartWrite<'_>) {
    let sent = new.clone();
    if part.changes_spec() {
        meta::keep_all_but_status(new, old);
    } else {
        meta::keep_with_metadata(new, old, &["annotations", "finalizers", "labels"]);
        keep_class(new, old);
        return;
    }
    if part.name == "resize" {
        take_resources(new, &sent);
    } else if let Some(spec) = object_mut(new, &["spec"]) {
        match at(&sent, &["spec", EPHEMERAL]).cloned() {
            Some(list) => spec.insert(EPHEMERAL.to_owned(), list),
            None => spec.remove(EPHEMERAL),
        };
    }
    meta::keep_status(new, old);
}

/// A status that does not say the class of a pod leaves it as it was.
fn keep_class(new: &mut Value, old: &Value) {
    if let (Some(status), Some(class)) = (object_mut(new, &["status"]), at(old, &["status", "qosClass"])) {
        super::value::set_default(status, "qosClass", class.clone());
    }
}

fn take_resources(new: &mut Value, sent: &Value) {
    let Some(spec) = object_mut(new, &["spec"]) else { return };
    for list in RUNNING {
        let wanted = by_name(items(sent, &["spec", list]));
        for container in each_mut(spec, list) {
            let name = container.get("name").and_then(Value::as_str).unwrap_or("");
            match wanted.get(name).and_then(|one| one.get("resources")) {
                Some(resources) => container.insert("resources".to_owned(), resources.clone()),
                None => container.remove("resources"),
            };
        }
    }
    pod_spec::default_resize_policy(spec);
}

/// What is wrong with a change made through a part.
pub(super) fn validate(new: &Value, old: &Value, part: &PartWrite<'_>) -> Faults {
    match part.name {
        "resize" => resized(new, old),
        "ephemeralcontainers" => added(new, old),
        "status" => pod_state::validate_update(new, old),
        _ => Faults::new(),
    }
}

/// What is wrong with a new pod because of what only its parts may set.
pub(super) fn validate_create(pod: &Value) -> Faults {
    let is_set = !items(pod, &["spec", EPHEMERAL]).is_empty();
    let mut causes = pod_spec::profiles_agree(pod);
    causes.extend(is_set.then(|| field::forbidden(EPHEMERAL_PATH, "cannot be set on create")));
    causes
}

/// Of a name that is there twice, the first counts.
fn by_name(containers: &[Value]) -> HashMap<&str, &Value> {
    containers.iter().rev().map(|container| (text(container, &["name"]), container)).collect()
}

/// Ephemeral containers are only ever added.
fn added(new: &Value, old: &Value) -> Faults {
    if pod_annotations::is_mirror(old) {
        return Faults::from([field::forbidden("", "static pods do not support ephemeral containers")]);
    }
    let (is, was) = (items(new, &["spec", EPHEMERAL]), items(old, &["spec", EPHEMERAL]));
    let (is, mut causes) = (by_name(is), Faults::new());
    for container in was {
        let name = text(container, &["name"]);
        let detail = match is.get(name) {
            None => format!("existing ephemeral containers {name:?} may not be removed\n"),
            Some(same) if *same != container => {
                format!("existing ephemeral containers {name:?} may not be changed\n")
            }
            Some(_) => continue,
        };
        causes.push(field::forbidden(EPHEMERAL_PATH, &detail));
    }
    causes
}

fn resized(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    if pod_spec::qos_class(new) != pod_spec::qos_class(old) {
        let class = pod_spec::qos_class(new);
        let detail = "Pod QOS Class may not change as a result of resizing";
        causes.push(field::invalid("spec", class, detail));
    }
    for list in RUNNING {
        for (index, container) in items(new, &["spec", list]).iter().enumerate() {
            let before = items(old, &["spec", list]).get(index).unwrap_or(&Value::Null);
            if container.get("resources") == before.get("resources") {
                continue;
            }
            let path = field::index(&field::child("spec", list), index);
            if list == "initContainers" && text(container, &["restartPolicy"]) != "Always" {
                let detail = "pod resize may not change resources of non-restartable init containers";
                causes.push(field::forbidden(field::child(&path, "resources"), detail));
            }
            amounts(container, before, &field::child(&path, "resources"), &mut causes);
        }
    }
    causes
}

fn amounts(container: &Value, before: &Value, path: &str, causes: &mut Faults) {
    for list in ["requests", "limits"] {
        let of = |object: &Value| {
            at(object, &["resources", list]).and_then(Value::as_object).cloned().unwrap_or_default()
        };
        let (is, was) = (of(container), of(before));
        let path = field::child(path, list);
        for name in is.keys().chain(was.keys().filter(|name| !is.contains_key(*name))) {
            if is.get(name) != was.get(name) && !MUTABLE.contains(&name.as_str()) {
                causes.push(field::forbidden(
                    field::key(&path, name),
                    "only cpu and memory resources are mutable",
                ));
            } else if is.get(name).is_none() {
                let detail = format!("resource {list} cannot be removed");
                causes.push(field::forbidden(field::key(&path, name), &detail));
            }
        }
    }
}
