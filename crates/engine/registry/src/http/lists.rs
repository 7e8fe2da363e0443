//! Lists: tags, repositories.

use super::request::query;
use super::{Answer, Body, Front, Request, STALE, json, set};
use crate::auth::Caller;
use crate::error::RegistryError;
use crate::name::Repository;
use crate::registry::Registry;
use http::header::{LINK, WARNING};
use http::{Response, StatusCode};

/// The longest page, and a page where none was asked for.
const PAGE_LIMIT: usize = 1000;

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
