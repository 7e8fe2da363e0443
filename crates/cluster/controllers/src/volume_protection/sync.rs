//! One step: the finalizer goes with the last use.

use super::Controller;
use crate::wiring::Key;
use hako_client::{Api, ListParams, Object};
use hako_error::{Kind, Result};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use std::time::Duration;

const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
const OF_VOLUMES: &str = "kubernetes.io/pv-protection";

impl Controller {
    /// Volumes have no namespace in their key.
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let (namespace, name) = key;
        if namespace.is_empty() {
            self.volume(&name).await?;
        } else {
            self.claim(&namespace, &name).await?;
        }
        Ok(None)
    }

    async fn claim(&self, namespace: &str, name: &str) -> Result<()> {
        let Some(claim) = self.claims.get(namespace, name).filter(|claim| is_held(&**claim, OF_CLAIMS))
        else {
            return Ok(());
        };
        let uses = |pod: &Pod| is_active(pod) && claims_of(pod).iter().any(|one| one == name);
        if self.pods.list_in(namespace).iter().any(|pod| uses(pod)) {
            return Ok(());
        }
        // The cache may not have seen a pod yet that was made before the deletion.
        let pods = self.client.namespaced::<Pod>(namespace).list_all(&ListParams::default()).await?;
        if pods.items.iter().any(uses) {
            return Ok(());
        }
        let api: Api<PersistentVolumeClaim> = self.client.namespaced(namespace);
        release(&api, name, &*claim, OF_CLAIMS).await
    }

    async fn volume(&self, name: &str) -> Result<()> {
        let Some(volume) = self.volumes.get("", name).filter(|volume| is_held(&**volume, OF_VOLUMES)) else {
            return Ok(());
        };
        if volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound") {
            return Ok(());
        }
        let api: Api<PersistentVolume> = self.client.all();
        release(&api, name, &*volume, OF_VOLUMES).await
    }
}

/// The claims a pod uses, those made for it included.
pub(super) fn claims_of(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claim = |volume: &k8s_openapi::api::core::v1::Volume| match &volume.persistent_volume_claim {
        Some(source) => Some(source.claim_name.clone()),
        None => volume.ephemeral.as_ref().map(|_| format!("{name}-{}", volume.name)),
    };
    volumes.filter_map(claim).collect()
}

/// A pod that ended uses nothing any more, nor does one that never got a node.
fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let has_node = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    has_node && !matches!(phase, "Succeeded" | "Failed")
}

fn is_held<K: Object>(object: &K, finalizer: &str) -> bool {
    let meta = object.metadata();
    meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().any(|it| it == finalizer)
}

async fn release<K: Object>(api: &Api<K>, name: &str, object: &K, finalizer: &str) -> Result<()> {
    let mut free = object.clone();
    if let Some(finalizers) = &mut free.metadata_mut().finalizers {
        finalizers.retain(|it| it != finalizer);
    }
    match api.replace(name, &free).await {
        Err(error) if error.kind() != Kind::NotFound => Err(error),
        _ => Ok(()),
    }
}
