//! Pulling and deleting blobs.

use super::request::header;
use super::{Answer, Body, CONTENT_DIGEST, Front, Request, empty, range, set};
use crate::condition::Conditions;
use crate::error::RegistryError;
use crate::name::{Reference, Repository};
use crate::registry::Registry;
use crate::upstream::{Fetched, Origin};
use hako_names::Digest;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE,
};
use http::{Method, Response, StatusCode};

/// `GET` and `HEAD …/blobs/DIGEST`, with ranges and conditions (RFC 9110 sections 13 and 14).
pub(super) async fn get(front: &Front, name: &Repository, digest: Digest, request: &Request) -> Answer {
    let (registry, origin) = (&front.registry, front.upstreams.origin(name));
    let size = match (registry.blob(name, digest, origin.as_ref().map(Origin::keep)).await, origin) {
        (Err(RegistryError::BlobUnknown { .. }), Some(origin)) => {
            match pull_through(registry, &origin, name, digest, request).await? {
                Some(response) => return Ok(response),
                None => registry.blob(name, digest, Some(origin.keep())).await?.size,
            }
        }
        (link, _) => link?.size,
    };
    let headers = request.headers();
    let conditions = Conditions::of(headers);
    conditions.before_read(name, &Reference::Digest(digest), digest)?;
    if conditions.is_known(digest) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        describe(&mut response, digest);
        return Ok(response);
    }
    // A range of another version would be wrong: If-Range must name this one.
    let same = header(headers, &IF_RANGE).is_none_or(|tag| tag == etag(digest));
    let asked = header(headers, &RANGE).filter(|_| same && request.method() == Method::GET);
    let part = range::of_download(asked, size)?;
    let mut response = match &part {
        Some(part) => {
            let mut response = empty(StatusCode::PARTIAL_CONTENT);
            set(&mut response, CONTENT_RANGE, format!("bytes {}-{}/{size}", part.start, part.end - 1));
            response
        }
        None => empty(StatusCode::OK),
    };
    describe(&mut response, digest);
    set(&mut response, CONTENT_TYPE, "application/octet-stream");
    set(&mut response, ACCEPT_RANGES, "bytes");
    let part = part.unwrap_or(0..size);
    let length = part.end - part.start;
    set(&mut response, CONTENT_LENGTH, length.to_string());
    if request.method() == Method::GET {
        *response.body_mut() = Body::blob(registry.open_blob(name, digest, part).await?, length);
    }
    Ok(response)
}

/// A blob that only the upstream has: on its way, or `None` when it is here now.
async fn pull_through(
    registry: &Registry,
    origin: &Origin,
    name: &Repository,
    digest: Digest,
    request: &Request,
) -> Result<Option<Response<Body>>, RegistryError> {
    let unknown = || RegistryError::BlobUnknown { repository: name.clone(), digest };
    let known = |error| match error {
        RegistryError::Upstream { source } if source.is_not_found() => unknown(),
        other => other,
    };
    let conditions = Conditions::of(request.headers());
    // What will be refused is not fetched.
    let (length, body) = if request.method() == Method::HEAD || !conditions.is_match(Some(digest)) {
        let size = origin.blob_size(digest).await.map_err(known)?.ok_or_else(unknown)?;
        conditions.before_read(name, &Reference::Digest(digest), digest)?;
        (size, Body::empty())
    } else {
        let is_whole = !request.headers().contains_key(RANGE);
        match origin.blob(registry, name, digest, is_whole).await.map_err(known)? {
            Fetched::Here => return Ok(None),
            Fetched::Coming(size, body) => (size, Body::blob(body, size)),
        }
    };
    let mut response = empty(StatusCode::OK);
    describe(&mut response, digest);
    set(&mut response, CONTENT_TYPE, "application/octet-stream");
    set(&mut response, CONTENT_LENGTH, length.to_string());
    *response.body_mut() = body;
    Ok(Some(response))
}

/// `DELETE …/blobs/DIGEST`.
pub(super) async fn delete(
    registry: &Registry,
    name: &Repository,
    digest: Digest,
    request: &Request,
) -> Answer {
    // A blob that is there is what it was. Of one that cannot be deleted anyway, that is said.
    if registry.metadata().link(name, digest)?.is_some_and(|link| link.holds == 0) {
        let conditions = Conditions::of(request.headers());
        conditions.before_change(name, &Reference::Digest(digest), Some(digest))?;
    }
    registry.delete_blob(name, digest).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// Content under a digest never changes: caches may keep it for a year.
fn describe(response: &mut Response<Body>, digest: Digest) {
    set(response, CONTENT_DIGEST, digest.to_string());
    set(response, ETAG, etag(digest));
    set(response, CACHE_CONTROL, "max-age=31536000");
}

pub(super) fn etag(digest: Digest) -> String {
    format!("\"{digest}\"")
}
