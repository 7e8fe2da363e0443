//! What is said on a pod that has no node: its `PodScheduled` condition.

use std::sync::Arc;

use hako_client::Patch;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use crate::pod_info::key_of;
use crate::scheduler::Shared;

/// The condition that says whether a pod has a node.
const CONDITION: &str = "PodScheduled";
/// What the API server of Kubernetes says on a pod with gates.
const GATED: &str = "Scheduling is blocked due to non-empty scheduling gates";

impl Shared {
    /// Says why no node can take a pod, unless it says so already.
    pub(crate) fn tell_unschedulable(
        self: &Arc<Self>,
        pod: &Arc<Pod>,
        message: &str,
        permit: OwnedSemaphorePermit,
    ) {
        if has_condition(pod, "Unschedulable", message) {
            return;
        }
        // The uid keeps it from a new pod of the same name.
        let patch = json!({
            "metadata": {"uid": pod.metadata.uid},
            "status": {"conditions": [condition("Unschedulable", message)]},
        });
        let (shared, pod) = (Arc::clone(self), Arc::clone(pod));
        tokio::spawn(async move {
            let _permit = permit;
            shared.patch_status(&pod, patch).await;
        });
    }

    /// Says that a pod is held back by its gates, unless it says so already.
    pub(crate) fn tell_gated(self: &Arc<Self>, pod: &Arc<Pod>) {
        if has_condition(pod, "SchedulingGated", GATED) {
            return;
        }
        // Only at this version: the gates may be opened and the pod bound before this arrives. A newer version comes
        // by here as well.
        let meta = &pod.metadata;
        let patch = json!({
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "status": {"conditions": [condition("SchedulingGated", GATED)]},
        });
        let (shared, pod) = (Arc::clone(self), Arc::clone(pod));
        tokio::spawn(async move {
            let Ok(_permit) = Arc::clone(&shared.calls).acquire_owned().await else { return };
            shared.patch_status(&pod, patch).await;
        });
    }

    async fn patch_status(&self, pod: &Pod, patch: serde_json::Value) {
        let (namespace, name) = key_of(pod);
        let api = self.client.namespaced::<Pod>(&namespace);
        if let Err(error) = api.patch_status(&name, &Patch::Strategic(patch)).await {
            tracing::debug!(pod = %format!("{namespace}/{name}"), error = %error.chain(), "condition not written");
        }
    }
}

fn has_condition(pod: &Pod, reason: &str, message: &str) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| {
        condition.type_ == CONDITION
            && condition.status == "False"
            && condition.reason.as_deref() == Some(reason)
            && condition.message.as_deref() == Some(message)
    })
}

fn condition(reason: &str, message: &str) -> serde_json::Value {
    json!({
        "type": CONDITION,
        "status": "False",
        "reason": reason,
        "message": message,
        "lastProbeTime": null,
        "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}
