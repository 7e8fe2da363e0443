//! Lists: tags, repositories, referrers.

use super::request::query;
use super::{Answer, Body, Front, OCI_FILTERS, Request, STALE, json, set};
use crate::auth::Caller;
use crate::error::RegistryError;
use crate::manifest::OCI_INDEX;
use crate::name::{Reference, Repository};
use crate::registry::Registry;
use hako_names::Digest;
use http::header::{CONTENT_TYPE, LINK, WARNING};
use http::{Response, StatusCode};

/// The longest page, and a page where none was asked for.
const PAGE_LIMIT: usize = 1000;
/// Referrers of one subject that are shown.
const REFERRERS_LIMIT: usize = 4096;

/// `GET …/tags/list?n&last`.
pub(super) async fn tags(front: &Front, name: &Repository, request: &Request) -> Answer {
    let Some(origin) = front.upstreams.origin(name) else {
        return tags_here(&front.registry, name, request);
    };
    let (limit, last) = page(request)?;
    match origin.tags(limit, last.as_deref()).await {
        Ok((tags, next)) => Ok(tags_page(name, limit, &tags, next.as_deref())),
        Err(RegistryError::Upstream { source }) if source.is_not_found() => {
            Err(RegistryError::NameUnknown { repository: name.clone() })
        }
        Err(error) => {
            let mut stale = tags_here(&front.registry, name, request).map_err(|_| error)?;
            set(&mut stale, WARNING, STALE);
            Ok(stale)
        }
    }
}

fn tags_here(registry: &Registry, name: &Repository, request: &Request) -> Answer {
    if !registry.metadata().has_repository(name)? {
        return Err(RegistryError::NameUnknown { repository: name.clone() });
    }
    let (limit, last) = page(request)?;
    let page = registry.metadata().tags(name, last.as_deref(), limit)?;
    let tags: Vec<String> = page.items.iter().map(ToString::to_string).collect();
    Ok(tags_page(name, limit, &tags, tags.last().map(String::as_str).filter(|_| page.has_more)))
}

fn tags_page(name: &Repository, limit: usize, tags: &[String], next: Option<&str>) -> Response<Body> {
    let mut response = json(StatusCode::OK, serde_json::json!({"name": name, "tags": tags}).to_string());
    if let Some(last) = next {
        set(&mut response, LINK, format!("</v2/{name}/tags/list?n={limit}&last={last}>; rel=\"next\""));
    }
    response
}

/// `GET /v2/_catalog?n&last`.
pub(super) fn catalog(registry: &Registry, caller: &Caller, request: &Request) -> Answer {
    let (limit, last) = page(request)?;
    let page = registry.metadata().repositories(last.as_deref(), limit, &|name| caller.sees(name))?;
    let names: Vec<&str> = page.items.iter().map(Repository::as_str).collect();
    let mut response = json(StatusCode::OK, serde_json::json!({"repositories": names}).to_string());
    if let (true, Some(last)) = (page.has_more, names.last()) {
        let last = last.replace('/', "%2F");
        set(&mut response, LINK, format!("</v2/_catalog?n={limit}&last={last}>; rel=\"next\""));
    }
    Ok(response)
}

/// `GET …/referrers/DIGEST?artifactType`: an index, empty for what nothing refers to.
pub(super) async fn referrers(
    front: &Front,
    name: &Repository,
    subject: Digest,
    request: &Request,
) -> Answer {
    let wanted = query(request, "artifactType")?.filter(|wanted| !wanted.is_empty());
    let mut descriptors = match front.upstreams.origin(name) {
        // Not kept, so while the upstream cannot be asked it is not said that there are none.
        Some(origin) => origin.referrers(subject).await?,
        None => referrers_here(&front.registry, name, subject).await?,
    };
    if let Some(wanted) = &wanted {
        descriptors.retain(|one| one["artifactType"] == wanted.as_str());
    }
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors});
    let mut response = json(StatusCode::OK, index.to_string());
    set(&mut response, CONTENT_TYPE, OCI_INDEX);
    if wanted.is_some() {
        set(&mut response, OCI_FILTERS, "artifactType");
    }
    Ok(response)
}

async fn referrers_here(
    registry: &Registry,
    name: &Repository,
    subject: Digest,
) -> Result<Vec<serde_json::Value>, RegistryError> {
    let found = registry.metadata().referrers(name, subject, REFERRERS_LIMIT)?;
    let mut descriptors: Vec<serde_json::Value> = found
        .into_iter()
        .map(|(digest, record)| {
            let mut descriptor = serde_json::json!({
                "mediaType": record.media_type, "digest": digest, "size": record.size,
            });
            if let Some(artifact_type) = record.artifact_type {
                descriptor["artifactType"] = artifact_type.into();
            }
            if !record.annotations.is_empty() {
                descriptor["annotations"] = serde_json::json!(record.annotations);
            }
            descriptor
        })
        .collect();
    for descriptor in fallback(registry, name, subject).await? {
        if descriptors.iter().all(|one| one["digest"] != descriptor["digest"]) {
            descriptors.push(descriptor);
        }
    }
    Ok(descriptors)
}

/// What clients listed themselves, under the tag that they use where there is no referrers API ("Referrers Tag Schema").
async fn fallback(
    registry: &Registry,
    name: &Repository,
    subject: Digest,
) -> Result<Vec<serde_json::Value>, RegistryError> {
    let tag = format!("sha256-{}", subject.hex()).parse()?;
    let Some((digest, record)) = registry.metadata().manifest(name, &Reference::Tag(tag))? else {
        return Ok(Vec::new());
    };
    if record.media_type != OCI_INDEX {
        return Ok(Vec::new());
    }
    let index: serde_json::Value =
        serde_json::from_slice(&registry.manifest_bytes(digest).await?).unwrap_or_default();
    Ok(index["manifests"].as_array().cloned().unwrap_or_default())
}

fn page(request: &Request) -> Result<(usize, Option<String>), RegistryError> {
    let limit = match query(request, "n")? {
        Some(text) => text.parse::<usize>().map_err(|_| RegistryError::Request {
            what: "the parameter n",
            problem: format!("{text:?} is not a number of entries"),
        })?,
        None => PAGE_LIMIT,
    };
    Ok((limit.min(PAGE_LIMIT), query(request, "last")?.filter(|last| !last.is_empty())))
}
