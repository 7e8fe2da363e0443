//! Writing blobs.

use super::Access;
use super::auth::encode;
use super::client::{Call, RemoteClient, Target, scope};
use super::error::RemoteError;
use super::payload::Payload;
use hako_names::Digest;
use http::{HeaderMap, Method, StatusCode, header};

/// A blob that is being sent, piece by piece.
#[derive(Debug)]
pub struct Upload {
    client: RemoteClient,
    repository: String,
    location: Target,
    /// Bytes that the registry has.
    offset: u64,
    /// The smallest piece that it takes, except for the last.
    smallest: u64,
}

/// What asking for a blob of another repository gave.
#[derive(Debug)]
pub enum Mount {
    /// The blob is there now.
    Mounted,
    /// The registry wants it sent, here.
    Upload(Upload),
}

impl RemoteClient {
    /// Starts to send a blob.
    pub async fn start_upload(&self, repository: &str) -> Result<Upload, RemoteError> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let mut call =
            Call::new(Method::POST, path, format!("an upload to {repository}")).on(repository, Access::Push);
        // An upload that nobody continues is forgotten by the registry.
        call.is_repeatable = true;
        let response = self.send(&call).await?;
        self.upload(repository, &call, response.headers())
    }

    /// Asks for a blob that the registry has in the repository `from`, without sending it.
    pub async fn mount_blob(
        &self,
        repository: &str,
        digest: Digest,
        from: &str,
    ) -> Result<Mount, RemoteError> {
        let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={}", encode(from));
        let mut call = Call::new(Method::POST, path, format!("blob {digest} from {from}"));
        call.scope = format!("{} {}", scope(repository, Access::Push), scope(from, Access::Pull));
        call.is_repeatable = true;
        let response = self.send(&call).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(Mount::Mounted);
        }
        Ok(Mount::Upload(self.upload(repository, &call, response.headers())?))
    }

    fn upload(&self, repository: &str, call: &Call, headers: &HeaderMap) -> Result<Upload, RemoteError> {
        let smallest = headers.get("oci-chunk-min-length").and_then(|value| value.to_str().ok());
        Ok(Upload {
            client: self.clone(),
            repository: repository.to_owned(),
            location: self.location(call, headers)?,
            offset: 0,
            smallest: smallest.and_then(|text| text.parse().ok()).unwrap_or(0),
        })
    }

    /// Sends a whole blob in pieces of at most `piece` bytes; a broken connection continues where the registry
    /// says that it got to.
    pub async fn upload_blob(
        &self,
        repository: &str,
        digest: Digest,
        payload: &Payload,
        piece: u64,
    ) -> Result<(), RemoteError> {
        self.start_upload(repository).await?.send_all(digest, payload, piece).await
    }
}

impl Upload {
    /// How many bytes the registry has.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Sends everything from where the registry is and ends the upload.
    pub async fn send_all(
        mut self,
        digest: Digest,
        payload: &Payload,
        piece: u64,
    ) -> Result<(), RemoteError> {
        let (piece, size, mut failures) = (piece.max(self.smallest).max(1), payload.len(), 0);
        while self.offset < size {
            let (before, next) = (self.offset, payload.tail(self.offset).head(piece));
            let Err(error) = self.append(&next).await else {
                failures = 0;
                continue;
            };
            // The registry may know less than was sent, or be ahead of an answer that was lost.
            let is_behind = error.status() == Some(StatusCode::RANGE_NOT_SATISFIABLE);
            if !(error.is_transient() || is_behind) || failures >= self.client.options().retries {
                return Err(error);
            }
            self.pause(failures, error).await?;
            failures += 1;
            self.refresh().await?;
            if self.offset > before {
                failures = 0;
            }
        }
        self.finish(digest, &Payload::Empty).await
    }

    /// Sends the next piece.
    pub async fn append(&mut self, piece: &Payload) -> Result<(), RemoteError> {
        let end = self.offset + piece.len();
        let mut call = self
            .call(Method::PATCH, self.location.clone())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_RANGE, &format!("{}-{}", self.offset, end.saturating_sub(1)));
        call.payload = piece.clone();
        let response = self.client.send(&call).await?;
        self.location = self.client.location(&call, response.headers())?;
        self.offset = end;
        Ok(())
    }

    /// Sends what is still being made, to its end, in one request.
    pub(crate) async fn follow(&mut self, payload: &Payload) -> Result<(), RemoteError> {
        let mut call = self
            .call(Method::PATCH, self.location.clone())
            .header(header::CONTENT_TYPE, "application/octet-stream");
        call.payload = payload.clone();
        let response = self.client.send(&call).await?;
        self.location = self.client.location(&call, response.headers())?;
        self.offset = payload.len();
        Ok(())
    }

    /// Whether what [`Upload::follow`] failed with may pass once all is made: some registries take no piece without its length.
    pub(crate) fn may_recover(error: &RemoteError) -> bool {
        error.is_transient() || error.status() == Some(StatusCode::LENGTH_REQUIRED)
    }

    /// After [`Upload::follow`] failed: waits, and finds out how far the registry got. The error is the same again where that
    /// is of no use.
    pub(crate) async fn recover(&mut self, error: RemoteError) -> Result<(), RemoteError> {
        if !Self::may_recover(&error) {
            return Err(error);
        }
        if error.is_transient() {
            self.pause(0, error).await?;
        }
        self.refresh().await.map(drop)
    }

    /// Waits before the next attempt. The error is the same again where the registry wants to be left alone for too long.
    async fn pause(&self, failures: u32, error: RemoteError) -> Result<(), RemoteError> {
        let wait = self.client.wait_before(failures, &error);
        if wait > self.client.options().longest_wait {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Asks the registry how far it got.
    pub async fn refresh(&mut self) -> Result<u64, RemoteError> {
        let call = self.call(Method::GET, self.location.clone());
        let response = self.client.send(&call).await?;
        let headers = response.headers();
        if headers.contains_key(header::LOCATION) {
            self.location = self.client.location(&call, headers)?;
        }
        let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
        let range = range.map(|text| text.trim_start_matches("bytes="));
        let last: Option<u64> =
            range.and_then(|range| range.split_once('-')).and_then(|(_, last)| last.parse().ok());
        // `0-0` is both "one byte" and, from Docker's registry, "nothing"; sending from 0 again is right for
        // the second, and answered with 416 for the first.
        self.offset = last.map_or(0, |last| if last == 0 { 0 } else { last + 1 });
        Ok(self.offset)
    }

    /// Sends the last bytes, if any, and makes the blob visible. Bytes that hash to something else are refused
    /// by the registry.
    pub async fn finish(self, digest: Digest, rest: &Payload) -> Result<(), RemoteError> {
        let separator = |has_query: bool| if has_query { '&' } else { '?' };
        let target = match &self.location {
            Target::Path(path) => {
                Target::Path(format!("{path}{}digest={digest}", separator(path.contains('?'))))
            }
            Target::Url(uri) => {
                let text = format!("{uri}{}digest={digest}", separator(uri.query().is_some()));
                let call = self.call(Method::PUT, self.location.clone());
                let uri = text.parse().map_err(|_| self.client.protocol(&call, "its Location is no URL"))?;
                Target::Url(uri)
            }
        };
        let mut call =
            self.call(Method::PUT, target).header(header::CONTENT_TYPE, "application/octet-stream");
        call.payload = rest.clone();
        call.what = format!("blob {digest} to {}", self.repository);
        self.client.send(&call).await.map(drop)
    }

    /// Gives it up; the registry forgets what it has.
    pub async fn cancel(self) -> Result<(), RemoteError> {
        let call = self.call(Method::DELETE, self.location.clone());
        self.client.send(&call).await.map(drop)
    }

    fn call(&self, method: Method, target: Target) -> Call {
        let what = format!("an upload to {}", self.repository);
        let mut call = Call::new(method, String::new(), what).on(&self.repository, Access::Push);
        call.target = target;
        call
    }
}
