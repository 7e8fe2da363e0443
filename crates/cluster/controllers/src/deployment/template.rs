//! Which ReplicaSet is whose template: comparison without the hash label, and the hash that names it.

use crate::conditions::{fnv32, safe_encode};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;
use std::sync::Arc;

/// The label that tells the pods of one template from those of another.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// The template as JSON without the hash label: what has to be equal for a ReplicaSet to be of a deployment's template.
fn bare(template: &PodTemplateSpec) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    serde_json::to_value(&template).unwrap_or(Value::Null)
}

/// The ReplicaSet of the deployment's present template; the oldest where there are several.
pub(super) fn newest<'a>(
    deployment: &Deployment,
    sets: &'a [Arc<ReplicaSet>],
) -> Option<&'a Arc<ReplicaSet>> {
    let wanted = bare(&deployment.spec.as_ref()?.template);
    let is_it = |set: &&Arc<ReplicaSet>| {
        set.spec
            .as_ref()
            .and_then(|spec| spec.template.as_ref())
            .is_some_and(|template| bare(template) == wanted)
    };
    sets.iter().filter(is_it).min_by_key(|set| {
        (set.metadata.creation_timestamp.as_ref().map(|time| time.0), set.metadata.name.clone())
    })
}

/// The hash of a template. `collisions` makes another one where a different template has the same.
pub(super) fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    let mut bytes = bare(template).to_string().into_bytes();
    if collisions > 0 {
        bytes.extend_from_slice(&collisions.to_le_bytes());
    }
    safe_encode(fnv32(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(image: &str, hash: Option<&str>) -> PodTemplateSpec {
        let mut value = json!({ "metadata": { "labels": { "app": "x" } }, "spec": { "containers": [{ "name": "c", "image": image }] } });
        if let Some(hash) = hash {
            value["metadata"]["labels"][HASH_LABEL] = json!(hash);
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_hash_label_does_not_count() {
        assert_eq!(hash(&template("i", None), 0), hash(&template("i", Some("abc")), 0));
        assert_ne!(hash(&template("i", None), 0), hash(&template("j", None), 0));
        assert_ne!(hash(&template("i", None), 0), hash(&template("i", None), 1));
    }
}
