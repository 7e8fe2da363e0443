//! Webhooks and policies that are registered as objects: what they refuse, what they change, and what happens when they fail.

mod custom;
mod faults;
pub mod hook_server;
mod matching;
mod mutations;
mod parts;
mod policies;
pub mod webhooks;

use std::time::{Duration, Instant};

use hako_client::{DynamicApi, ResourceType, WriteOptions};
use hako_error::Result;
use serde_json::{Value, json};

use crate::support::World;

const GROUP: &str = "admissionregistration.k8s.io";
const DEADLINE: Duration = Duration::from_secs(20);

fn configmaps(world: &World) -> DynamicApi {
    world.outside().dynamic(&ResourceType::new("", "v1", "configmaps"), Some("default"))
}

fn configmap(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

async fn create(world: &World, name: &str, data: Value) -> Result<Value> {
    configmaps(world).create(&configmap(name, data), &WriteOptions::default()).await
}

/// Registers an object of this group, which has to be taken.
async fn register(world: &World, plural: &str, object: Value) -> Value {
    let api = world.outside().dynamic(&ResourceType::new(GROUP, "v1", plural), None);
    api.create(&object, &WriteOptions::default()).await.unwrap()
}

/// Tries until it is as wanted: what is registered counts soon, not at once.
async fn until<T: std::fmt::Debug>(
    what: &str,
    mut attempt: impl AsyncFnMut() -> T,
    is_it: impl Fn(&T) -> bool,
) -> T {
    let began = Instant::now();
    loop {
        let found = attempt().await;
        if is_it(&found) {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "{what}: {found:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until all that is registered counts: a policy that refuses a Lease of a name that nobody else uses is registered
/// after it, and changes are taken in in their order.
pub async fn settled(world: &World) {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let name = format!("probe-{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let policy = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["coordination.k8s.io"], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["leases"], "resourceNames": [name],
            }]},
            "validations": [{"expression": "false"}],
        },
    });
    register(world, "validatingadmissionpolicies", policy).await;
    register(world, "validatingadmissionpolicybindings", binding(&name, &name, &["Deny"])).await;
    let dry = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let probe = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}});
    let inside =
        world.inside().dynamic(&ResourceType::new("coordination.k8s.io", "v1", "leases"), Some("default"));
    let attempt = async || inside.create(&probe, &dry).await.err().map(|error| error.to_string());
    let is_it = |found: &Option<String>| found.as_ref().is_some_and(|text| text.contains("denied request"));
    until("the probe is refused", attempt, is_it).await;
}

fn binding(name: &str, policy: &str, actions: &[&str]) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": policy, "validationActions": actions},
    })
}
