//! Pushing blobs: OCI distribution, "Pushing blobs".

use super::range as ranges;
use super::request::{header, query, stream};
use super::{Answer, CONTENT_DIGEST, Request, UPLOAD_UUID, empty, set};
use crate::auth::{Action, Caller};
use crate::error::RegistryError;
use crate::name::{Repository, parse_digest};
use crate::registry::{Chunk, ChunkRange, Pushed, Registry};
use bytes::Bytes;
use futures::Stream;
use hako_names::Digest;
use http::StatusCode;
use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http_body::Body as _;
use hyper::body::Incoming;

/// `POST …/uploads/`: a mount, a blob at once, or a session.
pub(super) async fn begin(
    registry: &Registry,
    caller: &Caller,
    name: &Repository,
    request: Request,
) -> Answer {
    if let (Some(digest), Some(from)) = (query(&request, "mount")?, query(&request, "from")?)
        && let (digest, Ok(from)) = (parse_digest(&digest)?, from.parse::<Repository>())
        && caller.may(&from, Action::Pull)
        && registry.mount(&from, name, digest).await?
    {
        return Ok(created(name, digest));
    }
    let digest = query(&request, "digest")?.map(|digest| parse_digest(&digest)).transpose()?;
    let id = registry.begin_upload(name, caller.user()).await?;
    let Some(digest) = digest else {
        return Ok(progress(StatusCode::ACCEPTED, name, &id, Pushed { size: 0 }));
    };
    let done = match registry.append(name, &id, chunk(request.into_body(), None, Some(digest))).await {
        Ok(_) => registry.commit_upload(name, &id, digest).await,
        Err(error) => Err(error),
    };
    if done.is_err() {
        // Nobody knows this session's id; it may be gone already.
        let _ = registry.cancel_upload(name, &id);
    }
    done.map(|_| created(name, digest))
}

/// `PATCH …/uploads/ID`: a chunk.
pub(super) async fn patch(registry: &Registry, name: &Repository, id: &str, request: Request) -> Answer {
    let range = ranges::of_chunk(header(request.headers(), &CONTENT_RANGE))?;
    let pushed = registry.append(name, id, chunk(request.into_body(), range, None)).await?;
    Ok(progress(StatusCode::ACCEPTED, name, id, pushed))
}

/// `PUT …/uploads/ID?digest=`: perhaps a last chunk, and the end.
pub(super) async fn commit(registry: &Registry, name: &Repository, id: &str, request: Request) -> Answer {
    let digest = query(&request, "digest")?.ok_or_else(|| RegistryError::UploadInvalid {
        id: id.to_owned(),
        problem: "the parameter digest is missing".into(),
    })?;
    let digest = parse_digest(&digest)?;
    let range = ranges::of_chunk(header(request.headers(), &CONTENT_RANGE))?;
    let body = request.into_body();
    if !body.is_end_stream() {
        registry.append(name, id, chunk(body, range, Some(digest))).await?;
    }
    registry.commit_upload(name, id, digest).await?;
    Ok(created(name, digest))
}

/// A request's body as a piece of an upload.
fn chunk(
    body: Incoming,
    range: Option<ChunkRange>,
    digest: Option<Digest>,
) -> Chunk<impl Stream<Item = Result<Bytes, RegistryError>> + Send + Unpin> {
    Chunk { range, length: body.size_hint().exact(), digest, body: stream(body) }
}

/// `GET …/uploads/ID`: how far it is.
pub(super) fn status(registry: &Registry, name: &Repository, id: &str) -> Answer {
    let pushed = registry.upload_status(name, id)?;
    Ok(progress(StatusCode::NO_CONTENT, name, id, pushed))
}

/// `DELETE …/uploads/ID`.
pub(super) fn cancel(registry: &Registry, name: &Repository, id: &str) -> Answer {
    registry.cancel_upload(name, id)?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn created(name: &Repository, digest: Digest) -> http::Response<super::Body> {
    let mut response = empty(StatusCode::CREATED);
    set(&mut response, LOCATION, format!("/v2/{name}/blobs/{digest}"));
    set(&mut response, CONTENT_DIGEST, digest.to_string());
    response
}

fn progress(status: StatusCode, name: &Repository, id: &str, pushed: Pushed) -> http::Response<super::Body> {
    let mut response = empty(status);
    set(&mut response, LOCATION, location(name, id));
    set(&mut response, RANGE, range(pushed.size));
    set(&mut response, UPLOAD_UUID, id);
    response
}

/// Where an upload goes on.
pub(super) fn location(name: &Repository, id: &str) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// The bytes that are here, first and last; with none, `0-0` like the Docker registry.
pub(super) fn range(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}
