//! What is wrong with a volume's spec, of its own or within an attachment.

use super::super::pod_spec;
use super::super::value::{members, text};
use super::{positive, shared, source};
use hako_kube::field::{self, Faults};
use serde_json::Value;

/// All faults of the spec of a volume of its own, which has that name.
pub(super) fn validate(spec: &Value, name: &str, path: &str, causes: &mut Faults) {
    shared(spec, path, "", causes);
    capacity(spec, path, causes);
    reclaim(spec, path, causes);
    affinity(spec, path, causes);
    source::validate(spec, name, path, causes);
    if let Some(class) = spec.get("volumeAttributesClassName") {
        if class == "" {
            let path = field::child(path, "volumeAttributesClassName");
            causes.push(field::required(path, "an empty string is disallowed"));
        }
        if spec.get("csi").is_none() {
            let detail = "has to be specified when using volumeAttributesClassName";
            causes.push(field::required(field::child(path, "csi"), detail));
        }
    }
}

fn capacity(spec: &Value, path: &str, causes: &mut Faults) {
    let (capacity, path) = (&spec["capacity"], field::child(path, "capacity"));
    let count = members(spec, &["capacity"]).count();
    if count == 0 {
        causes.push(field::required(&path, ""));
    }
    if capacity.get("storage").is_none() || count > 1 {
        causes.push(field::not_supported(&path, capacity.clone(), &["storage"]));
    }
    for (name, value) in members(spec, &["capacity"]) {
        positive(Some(value), &field::key(&path, name), causes);
    }
}

fn reclaim(spec: &Value, path: &str, causes: &mut Faults) {
    const POLICIES: &[&str] = &["Delete", "Recycle", "Retain"];
    let policy = text(spec, &["persistentVolumeReclaimPolicy"]);
    let path = field::child(path, "persistentVolumeReclaimPolicy");
    if !policy.is_empty() && !POLICIES.contains(&policy) {
        causes.push(field::not_supported(&path, policy, POLICIES));
    }
    let host = text(spec, &["hostPath", "path"]);
    let is_root = !host.is_empty() && host.split('/').all(|part| part.is_empty() || part == ".");
    if policy == "Recycle" && is_root {
        causes.push(field::forbidden(path, "may not be 'recycle' for a hostPath mount of '/'"));
    }
}

/// A disk of one machine says which.
fn affinity(spec: &Value, path: &str, causes: &mut Faults) {
    let path = field::child(path, "nodeAffinity");
    let Some(affinity) = spec.get("nodeAffinity") else {
        if spec.get("local").is_some() {
            causes.push(field::required(path, "Local volume requires node affinity"));
        }
        return;
    };
    let path = field::child(&path, "required");
    match affinity.get("required") {
        None => causes.push(field::required(path, "must specify required node constraints")),
        Some(selector) => causes.extend(pod_spec::node_selector(selector, &path)),
    }
}
/// All faults of the spec of a volume that an attachment carries itself.
pub(in super::super) fn validate_inline(spec: &Value, path: &str, causes: &mut Faults) {
    shared(spec, path, "", causes);
    source::validate(spec, "", path, causes);
    let detail = "may not be specified in the context of inline volumes";
    for name in ["claimRef", "capacity", "nodeAffinity", "storageClassName"] {
        if spec.get(name).is_some_and(|value| value != "") {
            causes.push(field::forbidden(field::child(path, name), detail));
        }
    }
    if spec.get("csi").is_none() {
        let detail = "has to be specified in the context of inline volumes";
        causes.push(field::required(field::child(path, "csi"), detail));
    }
    for (name, only, detail) in [
        ("persistentVolumeReclaimPolicy", "Retain", "may only be Retain in the context of inline volumes"),
        (
            "volumeMode",
            "Filesystem",
            "may not specify volumeMode other than Filesystem in the context of inline volumes",
        ),
    ] {
        let value = text(spec, &[name]);
        if !value.is_empty() && value != only {
            causes.push(field::forbidden(field::child(path, name), detail));
        }
    }
}
