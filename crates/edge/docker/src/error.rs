//! From the shared kinds of error to Docker's statuses, once.

use axum::Json;
use axum::response::{IntoResponse, Response};
use hako_error::{Error, Kind};
use http::StatusCode;
use serde_json::json;

/// What every handler returns.
pub(crate) type Answer = Result<Response, Failure>;

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Error);

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

pub(crate) fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::AlreadyExists | Kind::Conflict | Kind::FailedPrecondition => StatusCode::CONFLICT,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::Exhausted | Kind::DeadlineExceeded | Kind::Cancelled | Kind::DataLoss | Kind::Internal => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        message(status(self.0.kind()), &self.0.chain())
    }
}

/// Docker's error body.
pub(crate) fn message(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "message": text }))).into_response()
}

/// What is not of this API at all.
pub(crate) fn no_page() -> Response {
    message(StatusCode::NOT_FOUND, "page not found")
}

/// An input that cannot be accepted.
pub(crate) fn invalid(text: impl Into<String>) -> Failure {
    Failure(Error::new(Kind::Invalid, text))
}

/// A known wish that is not built.
pub(crate) fn unimplemented(text: impl Into<String>) -> Failure {
    Failure(Error::new(Kind::Unimplemented, text))
}

/// Runs blocking work of the stores.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> hako_error::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Failure),
        Err(source) => Err(Failure(Error::new(Kind::Internal, "a task ended early").with_source(source))),
    }
}
