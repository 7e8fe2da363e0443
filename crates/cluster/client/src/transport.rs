//! The seam between what is asked and how it travels.

use bytes::Bytes;
use futures::future::BoxFuture;
use hako_error::{Error, Result};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

/// A response's body: whole, or a stream of frames when it is a watch or a log.
pub type Body = UnsyncBoxBody<Bytes, Error>;

/// Carries one request to the API server. The URI holds path and query only.
pub trait Transport: Send + Sync + 'static {
    /// Answers with the server's response of any status; an error means that there was no response.
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>>>;
}

/// A body of bytes that are all there.
#[must_use]
pub fn body_from(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A body of nothing.
#[must_use]
pub fn empty_body() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
