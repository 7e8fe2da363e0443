//! Between the versions of a site. What the first one has no place for is kept in an annotation, so that nothing is lost by
//! who reads and writes it there.

use std::collections::BTreeMap;

use anyhow::Context as _;
use kube::ResourceExt as _;
use kube::core::conversion::{ConversionRequest, ConversionResponse, ConversionReview};
use kube::core::response::Status;
use serde_json::Value;

use crate::site::{INDEX, v1, v2};

const OTHER_PAGES: &str = "fleet.example.com/other-pages";

pub fn answer(review: ConversionReview) -> anyhow::Result<Value> {
    let request = ConversionRequest::from_review(review)?;
    let converted: Result<Vec<Value>, _> =
        request.objects.iter().map(|object| convert(object, &request.desired_api_version)).collect();
    let response = ConversionResponse::for_request(request);
    let response = match converted {
        Ok(objects) => response.success(objects),
        Err(error) => response.failure(Status::failure(&format!("{error:#}"), "Invalid")),
    };
    Ok(serde_json::to_value(response.into_review())?)
}

fn convert(object: &Value, wanted: &str) -> anyhow::Result<Value> {
    let have = object["apiVersion"].as_str().unwrap_or_default();
    let converted = match (have, wanted) {
        ("fleet.example.com/v1", "fleet.example.com/v2") => {
            serde_json::to_value(newer(serde_json::from_value(object.clone())?)?)?
        }
        ("fleet.example.com/v2", "fleet.example.com/v1") => {
            serde_json::to_value(older(serde_json::from_value(object.clone())?)?)?
        }
        (have, wanted) if have == wanted => object.clone(),
        _ => anyhow::bail!("there is no way from {have:?} to {wanted:?}"),
    };
    Ok(converted)
}

fn newer(mut site: v1::Site) -> anyhow::Result<v2::Site> {
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    if let Some(others) = site.annotations_mut().remove(OTHER_PAGES) {
        pages = serde_json::from_str(&others).context(OTHER_PAGES)?;
    }
    if !site.spec.page.is_empty() {
        pages.insert(INDEX.to_owned(), site.spec.page);
    }
    let spec = v2::SiteSpec { pages, replicas: site.spec.replicas };
    Ok(v2::Site { metadata: site.metadata, spec, status: site.status })
}

fn older(mut site: v2::Site) -> anyhow::Result<v1::Site> {
    let page = site.spec.pages.remove(INDEX).unwrap_or_default();
    if !site.spec.pages.is_empty() {
        let others = serde_json::to_string(&site.spec.pages)?;
        site.annotations_mut().insert(OTHER_PAGES.to_owned(), others);
    }
    let spec = v1::SiteSpec { page, replicas: site.spec.replicas };
    Ok(v1::Site { metadata: site.metadata, spec, status: site.status })
}
