//! Reading blobs.

use super::Access;
use super::client::{Call, RemoteClient};
use super::error::RemoteError;
use bytes::Bytes;
use hako_names::Digest;
use http::{HeaderMap, Method, StatusCode, header};
use hyper::body::Incoming;
use std::ops::Range;

/// A blob, or a part of one, as it comes. Its bytes are not verified.
pub struct BlobStream {
    client: RemoteClient,
    what: String,
    body: Incoming,
    /// Bytes to drop first: the registry answered a range with the whole.
    skip: u64,
    /// Bytes to hand out at most.
    left: u64,
    total: Option<u64>,
}

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlobStream({})", self.what)
    }
}

impl BlobStream {
    /// The whole blob's size in bytes, if the registry told it.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The next bytes; `None` at the end of the blob or range. An error that
    /// [is transient](RemoteError::is_transient) can be overcome by asking for the rest.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RemoteError> {
        while self.left > 0 {
            let Some(mut bytes) = self.client.next_frame(&self.what, &mut self.body).await? else {
                return Ok(None);
            };
            let skipped = self.skip.min(bytes.len() as u64);
            self.skip -= skipped;
            let _ = bytes.split_to(usize::try_from(skipped).unwrap_or(0));
            if let Ok(left) = usize::try_from(self.left) {
                bytes.truncate(left);
            }
            self.left -= bytes.len() as u64;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

impl RemoteClient {
    /// A blob's size; `None` if the registry does not have it in this repository.
    pub async fn head_blob(&self, repository: &str, digest: Digest) -> Result<Option<u64>, RemoteError> {
        let call = blob_call(Method::HEAD, repository, digest).accepting(&[404]);
        let response = self.send(&call).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(number(response.headers(), "content-length").unwrap_or(0)))
    }

    /// A blob from byte `from` on; the start is skipped where the registry knows no ranges.
    pub async fn get_blob(
        &self,
        repository: &str,
        digest: Digest,
        from: u64,
    ) -> Result<BlobStream, RemoteError> {
        let mut call = blob_call(Method::GET, repository, digest);
        if from > 0 {
            call = call.header(header::RANGE, &format!("bytes={from}-"));
        }
        self.stream(call, from, u64::MAX).await
    }

    /// A part of a blob.
    pub async fn get_blob_range(
        &self,
        repository: &str,
        digest: Digest,
        range: Range<u64>,
    ) -> Result<BlobStream, RemoteError> {
        let last = range.end.saturating_sub(1);
        let call = blob_call(Method::GET, repository, digest)
            .header(header::RANGE, &format!("bytes={}-{last}", range.start));
        self.stream(call, range.start, range.end.saturating_sub(range.start)).await
    }

    async fn stream(&self, call: Call, from: u64, left: u64) -> Result<BlobStream, RemoteError> {
        let response = self.send(&call).await?;
        let headers = response.headers();
        let (skip, total) = if response.status() == StatusCode::PARTIAL_CONTENT {
            let (start, total) = content_range(headers)
                .ok_or_else(|| self.protocol(&call, "its Content-Range is missing or malformed"))?;
            if start > from {
                return Err(self.protocol(&call, "it sent another range than was asked for"));
            }
            (from - start, total)
        } else {
            (from, number(headers, "content-length"))
        };
        Ok(BlobStream {
            client: self.clone(),
            what: call.what,
            body: response.into_body(),
            skip,
            left,
            total,
        })
    }

    /// Deletes a blob from a repository.
    pub async fn delete_blob(&self, repository: &str, digest: Digest) -> Result<(), RemoteError> {
        let mut call = blob_call(Method::DELETE, repository, digest);
        call = call.on(repository, Access::Delete);
        self.send(&call).await.map(drop)
    }
}

fn blob_call(method: Method, repository: &str, digest: Digest) -> Call {
    Call::new(method, format!("/v2/{repository}/blobs/{digest}"), format!("blob {digest} of {repository}"))
        .on(repository, Access::Pull)
        .header(header::ACCEPT_ENCODING, "identity")
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// `bytes START-END/TOTAL`: the start and the total.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.parse().ok()))
}
