//! Volumes and claims: they stay while they are used, and grow only where that is foreseen.

use futures::FutureExt as _;
use hako_names::Quantity;
use serde_json::{Value, json};

use super::{Change, Plugin, annotation, items, pass, text};
use crate::http::Outcome;

pub(super) const IN_USE: Plugin = Plugin {
    name: "StorageObjectInUseProtection",
    handles: |change| change.creates("", CLAIMS) || change.creates("", "persistentvolumes"),
    mutate: Some(|change, object| {
        let is_claim = change.is_of("", CLAIMS);
        let of = if is_claim { "kubernetes.io/pvc-protection" } else { "kubernetes.io/pv-protection" };
        if !items(object, "/metadata/finalizers").iter().any(|it| it == of) {
            match object["metadata"]["finalizers"].as_array_mut() {
                Some(finalizers) => finalizers.push(of.into()),
                None => object["metadata"]["finalizers"] = json!([of]),
            }
        }
        pass()
    }),
    ..Plugin::BASE
};

pub(super) const RESIZE: Plugin = Plugin {
    name: "PersistentVolumeClaimResize",
    handles: |change| change.updates("", CLAIMS),
    validate: Some(|change, claim| may_grow(change, claim).boxed()),
    ..Plugin::BASE
};

const CLAIMS: &str = "persistentvolumeclaims";

async fn may_grow(change: &Change<'_>, claim: &Value) -> Outcome<()> {
    let Some(old) = change.old else { return Ok(()) };
    if size(claim) <= size(old) {
        return Ok(());
    }
    if text(old, "/status/phase") != "Bound" {
        return Err(change.forbidden("Only bound persistent volume claims can be expanded"));
    }
    let class = class_of(claim);
    let class = match class.is_empty() || class != class_of(old) {
        true => None,
        false => change.find("storage.k8s.io", "storageclasses", "", class).await?,
    };
    if class.is_some_and(|class| class["allowVolumeExpansion"] == true) {
        return Ok(());
    }
    Err(change.forbidden(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support \
         resize",
    ))
}

fn size(claim: &Value) -> Option<Quantity> {
    text(claim, "/spec/resources/requests/storage").parse().ok()
}

fn class_of(claim: &Value) -> &str {
    match annotation(claim, "volume.beta.kubernetes.io/storage-class") {
        "" => text(claim, "/spec/storageClassName"),
        class => class,
    }
}
