//! Rules that look beyond one object: what writers get without asking, and what they are refused.

mod accounts;
mod classes;
mod limits;
mod nodes;
mod pod_security;
mod priorities;
mod quotas;
mod volumes;

use hako_api::Identity;
use hako_client::{Patch, ResourceType, WriteOptions};
use hako_error::{Kind, Result};
use serde_json::{Value, json};

use crate::support::World;

/// Groups of kinds by plural, for those that are not core.
fn kind(plural: &str) -> ResourceType {
    let group = match plural {
        "priorityclasses" => "scheduling.k8s.io",
        "storageclasses" => "storage.k8s.io",
        "ingresses" | "ingressclasses" => "networking.k8s.io",
        "csinodes" => "storage.k8s.io",
        "runtimeclasses" => "node.k8s.io",
        "certificatesigningrequests" => "certificates.k8s.io",
        "leases" => "coordination.k8s.io",
        "deployments" | "replicasets" => "apps",
        _ => "",
    };
    ResourceType::new(group, "v1", plural)
}

/// Creates an object as somebody.
async fn create_as(
    world: &World,
    identity: Identity,
    plural: &str,
    namespace: Option<&str>,
    object: Value,
) -> Result<Value> {
    let api = world.server.client(identity).dynamic(&kind(plural), namespace);
    api.create(&object, &WriteOptions::default()).await
}

/// Creates an object in the namespace `default`.
async fn create(world: &World, plural: &str, object: Value) -> Result<Value> {
    create_as(world, Identity::admin(), plural, Some("default"), object).await
}

/// Creates a cluster-wide object, which has to succeed.
async fn make(world: &World, plural: &str, object: Value) -> Value {
    create_as(world, Identity::admin(), plural, None, object).await.unwrap()
}

/// Changes an object of the namespace `default`.
async fn patch(world: &World, plural: &str, name: &str, part: Option<&str>, patch: Value) -> Result<Value> {
    let api = world.inside().dynamic(&kind(plural), Some("default"));
    api.patch(name, part, &Patch::Merge(patch), &WriteOptions::default()).await
}

/// A pod with one container, and what else its spec says.
fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "i"}]},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    pod
}

/// The refusal has to be a forbidden one that says so.
#[track_caller]
fn assert_forbidden<T: std::fmt::Debug>(outcome: Result<T>, text: &str) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), Kind::Forbidden, "{error}");
    assert!(error.to_string().contains(text), "{error}\n should say {text}");
}
