//! Nodes change their own objects and those of pods on them, and nothing that would draw pods to them.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use serde_json::Value;

use super::{Change, Operation, Plugin, annotation, items, text};
use crate::http::Outcome;

pub(super) const PLUGIN: Plugin = Plugin {
    name: "NodeRestriction",
    handles: |change| change.identity.node_name().is_some(),
    validate: Some(|change, object| check(change, object).boxed()),
    ..Plugin::BASE
};

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";
/// Labels of the system's domains that a node may give itself.
const ALLOWED: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

async fn check(change: &Change<'_>, object: &Value) -> Outcome<()> {
    let node = change.identity.node_name().unwrap_or("");
    let is_core = change.target.row.group.is_empty();
    match (&*change.target.row.plural, change.part) {
        ("pods", "") if is_core && change.operation == Operation::Create => own_mirror(change, object, node),
        ("pods", "") if is_core && change.operation == Operation::Delete => {
            on_it(change, object, node, "can only delete pods with spec.nodeName set to itself")
        }
        ("pods", "status") if is_core => {
            let old = change.old.unwrap_or(object);
            on_it(change, old, node, "can only update pod status for pods with spec.nodeName set to itself")?;
            if old.pointer("/metadata/labels") != object.pointer("/metadata/labels") {
                return Err(
                    change.forbidden(format!("node {node:?} cannot update labels through pod status"))
                );
            }
            Ok(())
        }
        ("pods", "eviction") if is_core => {
            on_it(change, object, node, "can only evict pods with spec.nodeName set to itself")
        }
        ("nodes", _) if is_core => own_node(change, object, node),
        ("leases", _) => own_lease(change, node),
        ("csinodes", _) if change.target.name != node => {
            Err(change.forbidden("can only access CSINode with the same name as the requesting node"))
        }
        ("serviceaccounts", "token") if is_core => token(change, object, node).await,
        _ => Ok(()),
    }
}

fn on_it(change: &Change<'_>, pod: &Value, node: &str, rule: &str) -> Outcome<()> {
    if text(pod, "/spec/nodeName") == node {
        return Ok(());
    }
    Err(change.forbidden(format!("node {node:?} {rule}")))
}

/// What it made of a file, and nothing that leads to more.
fn own_mirror(change: &Change<'_>, pod: &Value, node: &str) -> Outcome<()> {
    if annotation(pod, MIRROR).is_empty() {
        return Err(change.forbidden(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        )));
    }
    on_it(change, pod, node, "can only create pods with spec.nodeName set to itself")?;
    if !text(pod, "/spec/serviceAccountName").is_empty() {
        let why = "can not create pods that reference a service account";
        return Err(change.forbidden(format!("node {node:?} {why}")));
    }
    let owners = items(pod, "/metadata/ownerReferences");
    if owners.iter().any(|owner| owner["kind"] != "Node" || owner["name"] != node) {
        let why = "can only create pods with an owner reference set to itself";
        return Err(change.forbidden(format!("node {node:?} {why}")));
    }
    Ok(())
}

fn own_node(change: &Change<'_>, object: &Value, node: &str) -> Outcome<()> {
    let name = &change.target.name;
    if name != node {
        return Err(change.forbidden(format!("node {node:?} is not allowed to modify node {name:?}")));
    }
    let of = |object: Option<&Value>, pointer: &str| object.and_then(|it| it.pointer(pointer)).cloned();
    match (change.operation, change.old) {
        (Operation::Update, Some(old)) => {
            if of(Some(old), "/spec/taints") != of(Some(object), "/spec/taints") {
                return Err(change.forbidden(format!("node {node:?} is not allowed to modify taints")));
            }
            if of(Some(old), "/metadata/ownerReferences") != of(Some(object), "/metadata/ownerReferences") {
                return Err(
                    change.forbidden(format!("node {node:?} is not allowed to modify ownerReferences"))
                );
            }
            labels(change, object, Some(old), "modify", node)
        }
        (Operation::Create, _) => labels(change, object, None, "set", node),
        _ => Ok(()),
    }
}

fn labels(change: &Change<'_>, new: &Value, old: Option<&Value>, verb: &str, node: &str) -> Outcome<()> {
    let of = |object: &Value| object.pointer("/metadata/labels").and_then(Value::as_object).cloned();
    let (new, old) = (of(new).unwrap_or_default(), old.and_then(of).unwrap_or_default());
    let changed = new.keys().chain(old.keys()).filter(|key| new.get(*key) != old.get(*key));
    let forbidden: BTreeSet<&str> = changed.map(String::as_str).filter(|key| is_reserved(key)).collect();
    if forbidden.is_empty() {
        return Ok(());
    }
    let all = forbidden.into_iter().collect::<Vec<_>>().join(", ");
    let what = if verb == "set" { "set the following labels" } else { "modify labels" };
    Err(change.forbidden(format!("node {node:?} is not allowed to {what}: {all}")))
}

/// Labels that say what a node is trusted with are not for itself to give.
fn is_reserved(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    let within = |of: &str| domain == of || domain.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    let is_system = within("kubernetes.io") || within("k8s.io");
    let is_its_own = within("kubelet.kubernetes.io") || within("node.kubernetes.io");
    is_system && !is_its_own && !ALLOWED.contains(&key)
}

fn own_lease(change: &Change<'_>, node: &str) -> Outcome<()> {
    if change.namespace() != LEASES {
        let why = format!("can only access leases in the {LEASES:?} system namespace");
        return Err(change.forbidden(why));
    }
    if change.target.name != node {
        return Err(change.forbidden("can only access node lease with the same name as the requesting node"));
    }
    Ok(())
}

/// A token has to end with a pod that runs there.
async fn token(change: &Change<'_>, request: &Value, node: &str) -> Outcome<()> {
    let bound = |name: &str| text(request, &format!("/spec/boundObjectRef/{name}"));
    if bound("kind") != "Pod" || bound("name").is_empty() {
        return Err(change.forbidden("node requested token not bound to a pod"));
    }
    if bound("uid").is_empty() {
        return Err(change.forbidden("node requested token with a pod binding without a uid"));
    }
    let Some(pod) = change.find("", "pods", change.namespace(), bound("name")).await? else {
        return Err(change.forbidden(format!("pod {:?} not found", bound("name"))));
    };
    let uid = text(&pod, "/metadata/uid");
    if uid != bound("uid") {
        let asked = bound("uid");
        return Err(change.forbidden(format!(
            "the UID in the bound object reference ({asked}) does not match the UID in record ({uid})"
        )));
    }
    if text(&pod, "/spec/nodeName") != node {
        return Err(change.forbidden("node requested token bound to a pod scheduled on a different node"));
    }
    Ok(())
}
