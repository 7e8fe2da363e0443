//! Pulling and deleting blobs.

use super::request::header;
use super::{Answer, Body, CONTENT_DIGEST, Request, empty, range, set};
use crate::name::Repository;
use crate::registry::Registry;
use hako_names::Digest;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
    RANGE,
};
use http::{HeaderMap, Method, Response, StatusCode};

/// `GET` and `HEAD …/blobs/DIGEST`, with ranges and conditions (RFC 9110 sections 13 and 14).
pub(super) async fn get(registry: &Registry, name: &Repository, digest: Digest, request: &Request) -> Answer {
    let size = registry.blob(name, digest).await?.size;
    let headers = request.headers();
    if is_known(headers, digest) {
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
        *response.body_mut() = Body::blob(registry.open_blob(digest, part).await?, length);
    }
    Ok(response)
}

/// `DELETE …/blobs/DIGEST`.
pub(super) async fn delete(registry: &Registry, name: &Repository, digest: Digest) -> Answer {
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

/// Whether `If-None-Match` says that the client has it.
pub(super) fn is_known(headers: &HeaderMap, digest: Digest) -> bool {
    let is_same = |tag: &str| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"') == digest.to_string()
    };
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(is_same)
}
