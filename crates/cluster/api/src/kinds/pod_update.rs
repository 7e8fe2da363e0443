//! What may change in a pod that is there: little, and while gates hold it back a little more.

use super::diff::Part;
use super::value::{at, each_mut, items, members, number, object_mut, text};
use super::{pod_annotations, pod_gates, pod_spec};
use crate::protobuf::Layout;
use hako_kube::field::{self, Faults};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
     `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
     tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const DEADLINE: &str = "spec.activeDeadlineSeconds";
const SELECTOR: &str = "spec.nodeSelector";
const TERMS: &str =
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
const REQUIRED: [&str; 5] = [
    "spec",
    "affinity",
    "nodeAffinity",
    "requiredDuringSchedulingIgnoredDuringExecution",
    "nodeSelectorTerms",
];

/// All faults of a change of a pod.
pub(super) fn validate(new: &Value, old: &Value) -> Faults {
    let mut causes = pod_annotations::validate_update(new, old);
    for list in ["containers", "initContainers"] {
        if items(new, &["spec", list]).len() != items(old, &["spec", list]).len() {
            let path = field::child("spec", list);
            causes.push(field::forbidden(path, "pod updates may not add or remove containers"));
            return causes;
        }
    }
    deadline(new, old, &mut causes);
    tolerations(new, old, &mut causes);
    causes.extend(pod_gates::validate_update(new, old));
    let is_gated = !items(old, &["spec", "schedulingGates"]).is_empty();
    if is_gated {
        selector(new, old, &mut causes);
        terms(new, old, &mut causes);
    }
    let (mut is, mut was) = (new.clone(), old.clone());
    // Pods from before the policy was filled in do not change by that.
    object_mut(&mut was, &["spec"]).map(pod_spec::default_resize_policy);
    for object in [&mut is, &mut was] {
        strip_updatable(object, is_gated);
    }
    if is.get("spec") != was.get("spec") {
        causes.push(field::forbidden("spec", &changed(new, old, is_gated)));
    }
    causes
}

/// The spec of a pod as upstream's server has it.
const SPEC: Part = Part {
    api_version: "v1",
    kind: "Pod",
    path: &["spec"],
    layout: Layout {
        order: &[
            "volumes",
            "initContainers",
            "containers",
            "ephemeralContainers",
            "restartPolicy",
            "terminationGracePeriodSeconds",
            "activeDeadlineSeconds",
            "dnsPolicy",
            "nodeSelector",
            "serviceAccountName",
            "automountServiceAccountToken",
            "nodeName",
            "securityContext",
            "imagePullSecrets",
            "hostname",
            "subdomain",
            "setHostnameAsFQDN",
            "hostnameOverride",
            "affinity",
            "schedulerName",
            "tolerations",
            "hostAliases",
            "priorityClassName",
            "priority",
            "preemptionPolicy",
            "dnsConfig",
            "readinessGates",
            "runtimeClassName",
            "overhead",
            "enableServiceLinks",
            "topologySpreadConstraints",
            "os",
            "schedulingGates",
            "resourceClaims",
            "resources",
        ],
        without: &["serviceAccount"],
    },
};

/// What changed that may not, without what may.
fn changed(new: &Value, old: &Value, is_gated: bool) -> String {
    let (mut is, mut was) = (new.clone(), old.clone());
    object_mut(&mut was, &["spec"]).map(pod_spec::default_resize_policy);
    keep_updatable(&mut is, &was, is_gated);
    let (is, was) = (&is["spec"], &was["spec"]);
    SPEC.told(UPDATABLE, is, was).unwrap_or_else(|| {
        let names = changed_fields(Some(is), Some(was));
        format!("{UPDATABLE}; changed: {}", names.join(", "))
    })
}

/// Gives a pod what it had of what may change.
fn keep_updatable(new: &mut Value, old: &Value, is_gated: bool) {
    let Some(spec) = object_mut(new, &["spec"]) else { return };
    for name in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        keep(spec, &old["spec"], name);
    }
    if is_gated {
        keep(spec, &old["spec"], "nodeSelector");
        strip_node_affinity(spec);
        if let Some(affinity) = at(old, &["spec", "affinity", "nodeAffinity"])
            && let Some(here) = spec.entry("affinity").or_insert_with(|| json!({})).as_object_mut()
        {
            here.insert("nodeAffinity".to_owned(), affinity.clone());
        }
    }
    let grace = |spec: &Value| number(spec, &["terminationGracePeriodSeconds"]);
    let becomes_one = spec.get("terminationGracePeriodSeconds").is_some_and(|seconds| *seconds == 1);
    if becomes_one && grace(&old["spec"]).is_some_and(|seconds| seconds < 0) {
        keep(spec, &old["spec"], "terminationGracePeriodSeconds");
    }
    for part in ["containers", "initContainers"] {
        for (container, before) in each_mut(spec, part).zip(items(old, &["spec", part])) {
            keep(container, before, "image");
        }
    }
}

fn keep(map: &mut Map<String, Value>, old: &Value, name: &str) {
    match old.get(name) {
        Some(value) => map.insert(name.to_owned(), value.clone()),
        None => map.remove(name),
    };
}

fn deadline(new: &Value, old: &Value, causes: &mut Faults) {
    let seconds = |object: &Value| number(object, &["spec", "activeDeadlineSeconds"]);
    match (seconds(new), seconds(old)) {
        (Some(is), Some(was)) if is > was => {
            causes.push(field::invalid(DEADLINE, is, "must be less than or equal to previous value"));
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            causes.push(field::invalid(DEADLINE, Value::Null, detail));
        }
        _ => {}
    }
}

fn tolerations(new: &Value, old: &Value, causes: &mut Faults) {
    let had = items(old, &["spec", "tolerations"]);
    let has: HashSet<[&str; 4]> = items(new, &["spec", "tolerations"]).iter().map(toleration).collect();
    if !had.iter().map(toleration).all(|one| has.contains(&one)) {
        causes.push(field::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
}

/// What makes two tolerations one.
fn toleration(one: &Value) -> [&str; 4] {
    ["key", "operator", "value", "effect"].map(|name| text(one, &[name]))
}

/// Labels of nodes are added, so that a pod becomes choosier and never less so.
fn selector(new: &Value, old: &Value, causes: &mut Faults) {
    let has = at(new, &["spec", "nodeSelector"]);
    let is_kept = |(key, value): (&String, &Value)| has.and_then(|has| has.get(key)) == Some(value);
    if !members(old, &["spec", "nodeSelector"]).all(is_kept) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        causes.push(field::invalid(SELECTOR, has.cloned().unwrap_or(Value::Null), detail));
    }
}

fn terms(new: &Value, old: &Value, causes: &mut Faults) {
    let (is, was) = (items(new, &REQUIRED), items(old, &REQUIRED));
    if was.is_empty() {
        return;
    }
    if is.len() != was.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        causes.push(field::invalid(TERMS, is, detail));
        return;
    }
    let faulty = is.iter().zip(was).enumerate().filter(|(_, (is, was))| !only_adds(is, was));
    for (index, (is, _)) in faulty {
        let detail = "only additions are allowed (no mutations or deletions)";
        causes.push(field::invalid(field::index(TERMS, index), is.clone(), detail));
    }
}

/// Whether a term demands all it did, in the same order and before what it demands now. One that chose no node
/// chooses none.
fn only_adds(is: &Value, was: &Value) -> bool {
    let lists = ["matchExpressions", "matchFields"];
    let is_nothing = |term: &Value| lists.iter().all(|list| items(term, &[list]).is_empty());
    let keeps = |list: &&str| items(is, &[list]).starts_with(items(was, &[list]));
    lists.iter().all(keeps) && (!is_nothing(was) || is_nothing(is))
}

fn strip_updatable(object: &mut Value, is_gated: bool) {
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    for name in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        spec.remove(name);
    }
    if is_gated {
        spec.remove("nodeSelector");
        strip_node_affinity(spec);
    }
    if spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds < 0) {
        spec.insert("terminationGracePeriodSeconds".to_owned(), json!(1));
    }
    for part in ["containers", "initContainers"] {
        for container in each_mut(spec, part) {
            container.remove("image");
        }
    }
}

fn strip_node_affinity(spec: &mut Map<String, Value>) {
    let affinity = spec.get_mut("affinity").and_then(Value::as_object_mut);
    let is_empty = affinity.is_some_and(|affinity| {
        affinity.remove("nodeAffinity");
        affinity.is_empty()
    });
    if is_empty {
        spec.remove("affinity");
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
