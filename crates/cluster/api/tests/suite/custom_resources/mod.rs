//! Custom resources end to end: a definition is applied, its objects are served like any other, and both go again.

mod bombs;
mod conversion;
mod conversion_reviews;
mod definitions;
mod hostile_conversion;
mod objects;
mod ownership;
mod publishers;
mod races;
mod real_size;
mod versions;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::World;

const SECOND: Duration = Duration::from_secs(1);

/// Waits until something is so, for as long as is fair to a busy machine.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(60 * SECOND, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}"));
}

/// Creates a definition and waits until it is established.
pub async fn define(world: &World, definition: &Value) {
    let name = definition["metadata"]["name"].as_str().unwrap();
    world.kubectl_with(&["apply", "-f", "-"], &definition.to_string()).await;
    world.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/{name}")]).await;
}

/// The definition of a kind with one version and a schema.
fn one_version(kind: &str, schema: Value) -> Value {
    let lower = kind.to_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{lower}s.cr.example.com")},
        "spec": {
            "group": "cr.example.com", "scope": "Namespaced",
            "names": {"plural": format!("{lower}s"), "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

impl World {
    async fn definition(&self, name: &str) -> Value {
        self.kubectl_json(&["get", "crd", name, "-o", "json"]).await
    }
}
