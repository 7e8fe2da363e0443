//! Telling what was asked and answered, for the table of the API that tests make.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use std::fmt;
use std::sync::Arc;

/// Bytes of a body that are told at most; archives and streams are never JSON of a known length.
const MOST_BYTES: u64 = 4 << 20;

/// A request and its answer. Bodies are there where they are JSON of a known length.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The request's method.
    pub method: Method,
    /// Its path without the version, and its query.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Option<Bytes>,
    /// What it was answered with.
    pub status: StatusCode,
    /// The answer's body.
    pub answer: Option<Bytes>,
}

/// Who is told of each exchange when its answer begins.
#[derive(Clone)]
pub(crate) struct Recorder(pub(crate) Arc<dyn Fn(Exchange) + Send + Sync>);

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    /// Passes a request on and tells of it.
    pub(crate) async fn pass<F>(
        &self,
        request: Request<Body>,
        serve: impl FnOnce(Request<Body>) -> F,
    ) -> Response
    where
        F: Future<Output = Response>,
    {
        let (parts, body) = request.into_parts();
        let (body, told) = read(&parts.headers, body).await;
        let (method, uri, headers) = (parts.method.clone(), parts.uri.clone(), parts.headers.clone());
        let (parts, body_of_answer) = serve(Request::from_parts(parts, body)).await.into_parts();
        let (answer_body, answer) = read(&parts.headers, body_of_answer).await;
        (self.0)(Exchange { method, uri, headers, body: told, status: parts.status, answer });
        Response::from_parts(parts, answer_body)
    }
}

/// The body, read if it is JSON of a known length, and one that is the same.
async fn read(headers: &HeaderMap, body: Body) -> (Body, Option<Bytes>) {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_told = kind.is_some_and(|kind| kind.starts_with("application/json"))
        && body.size_hint().exact().is_some_and(|length| length <= MOST_BYTES);
    if !is_told {
        return (body, None);
    }
    match body.collect().await {
        Ok(whole) => {
            let whole = whole.to_bytes();
            (Body::from(whole.clone()), Some(whole))
        }
        // A client that does not send what it announced is refused as one that sent nothing.
        Err(_) => (Body::empty(), None),
    }
}
