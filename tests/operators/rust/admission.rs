//! What the operator changes and refuses: sites, and pods of others.

use kube::ResourceExt as _;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::site::{INDEX, v2};

const WHO: &str = "fleet.example.com/created-by";
const PROTECTED: &str = "fleet.example.com/protected";
/// Pods with this label are refused.
const REFUSED: &str = "fleet.example.com/refused";

fn answer<T: kube::Resource + DeserializeOwned>(
    review: Value,
    judge: impl FnOnce(&AdmissionRequest<T>, AdmissionResponse) -> anyhow::Result<AdmissionResponse>,
) -> anyhow::Result<Value> {
    let review: AdmissionReview<T> = serde_json::from_value(review)?;
    let request: AdmissionRequest<T> = review.try_into()?;
    let response = judge(&request, AdmissionResponse::from(&request))?;
    Ok(serde_json::to_value(response.into_review())?)
}

/// A site says who made it, and has a page.
pub fn mutate(review: Value) -> anyhow::Result<Value> {
    answer(review, |request: &AdmissionRequest<v2::Site>, response| {
        let Some(site) = &request.object else { return Ok(response) };
        let mut patch = Vec::new();
        if site.metadata.annotations.is_none() {
            patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {}}));
        }
        let who = format!("/metadata/annotations/{}", WHO.replace('/', "~1"));
        patch.push(json!({"op": "add", "path": who, "value": request.user_info.username}));
        if site.spec.pages.is_empty() {
            let pages = json!({INDEX: format!("{} is under construction", site.name_any())});
            patch.push(json!({"op": "add", "path": "/spec/pages", "value": pages}));
        }
        Ok(response.with_patch(serde_json::from_value(patch.into())?)?)
    })
}

/// Names of pages have no slashes, and who protects a site has to mean it.
pub fn validate(review: Value) -> anyhow::Result<Value> {
    answer(review, |request: &AdmissionRequest<v2::Site>, mut response| {
        if request.operation == Operation::Delete {
            let old = request.old_object.as_ref();
            let is_protected = old.is_some_and(|site| site.annotations().contains_key(PROTECTED));
            return Ok(match is_protected {
                true => response
                    .deny(format!("site {:?} is protected: remove its annotation {PROTECTED}", request.name)),
                false => response,
            });
        }
        let Some(site) = &request.object else { return Ok(response) };
        if let Some(name) = site.spec.pages.keys().find(|name| name.contains('/')) {
            return Ok(
                response.deny(format!("page {name:?} has a slash in its name: pages are in one folder"))
            );
        }
        if site.spec.replicas == 0 {
            response.warnings = Some(vec!["nobody will see a site of no pods".to_owned()]);
        }
        Ok(response)
    })
}

pub fn pods(review: Value) -> anyhow::Result<Value> {
    answer(review, |request: &AdmissionRequest<DynamicObject>, response| {
        let is_refused = request.object.as_ref().is_some_and(|pod| pod.labels().contains_key(REFUSED));
        Ok(if is_refused { response.deny("the fleet has no place for it") } else { response })
    })
}
