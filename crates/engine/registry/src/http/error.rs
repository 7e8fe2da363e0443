//! Errors on the wire: OCI distribution, "Error Codes". The only place that chooses a status.

use super::{Body, json, set};
use crate::error::RegistryError;
use hako_error::{Classify as _, Kind};
use http::header::{ALLOW, CONTENT_RANGE, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

/// The response that says what was wrong.
pub(super) fn response(error: &RegistryError, is_head: bool) -> Response<Body> {
    let status = status(error);
    if status.is_server_error() {
        tracing::error!(error = %chain(error), "a request failed");
    }
    let text = serde_json::json!({"errors": [{
        "code": error.code().as_str(),
        "message": message(error, status),
        "detail": detail(error),
    }]})
    .to_string();
    let mut response = json(status, text);
    if is_head {
        *response.body_mut() = Body::empty();
    }
    headers(error, &mut response);
    response
}

fn status(error: &RegistryError) -> StatusCode {
    match error {
        RegistryError::OutOfOrder { .. } | RegistryError::RangeUnsatisfiable { .. } => {
            StatusCode::RANGE_NOT_SATISFIABLE
        }
        RegistryError::BlobHeld { .. }
        | RegistryError::ManifestHeld { .. }
        | RegistryError::Unsupported { .. } => StatusCode::METHOD_NOT_ALLOWED,
        RegistryError::ConditionFailed { .. } => StatusCode::PRECONDITION_FAILED,
        RegistryError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        RegistryError::ManifestBlobUnknown { .. } => StatusCode::NOT_FOUND,
        RegistryError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        other => match other.kind() {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Invalid | Kind::Cancelled | Kind::FailedPrecondition => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Conflict | Kind::AlreadyExists => StatusCode::CONFLICT,
            Kind::Exhausted => StatusCode::INSUFFICIENT_STORAGE,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Kind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::DataLoss | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// What a client may read: not the paths and causes of our own faults, which are in the log.
fn message(error: &RegistryError, status: StatusCode) -> String {
    match error {
        RegistryError::Storage(_) | RegistryError::Metadata { .. } | RegistryError::Record { .. }
            if status != StatusCode::INSUFFICIENT_STORAGE =>
        {
            "the registry's storage failed; its log says why".into()
        }
        RegistryError::Storage(_) | RegistryError::Metadata { .. } => "the registry's storage is full".into(),
        other => other.to_string(),
    }
}

fn detail(error: &RegistryError) -> serde_json::Value {
    match error {
        RegistryError::ManifestBlobUnknown { missing, .. } => serde_json::json!({"digests": missing}),
        RegistryError::BlobUnknown { digest, .. } | RegistryError::BlobHeld { digest, .. } => {
            serde_json::json!({"digest": digest})
        }
        RegistryError::ManifestHeld { digest, index, .. } => {
            serde_json::json!({"digest": digest, "index": index})
        }
        RegistryError::NameUnknown { repository } => serde_json::json!({"name": repository}),
        RegistryError::DigestInvalid { source } => source.to_string().into(),
        _ => serde_json::Value::Null,
    }
}

fn headers(error: &RegistryError, response: &mut Response<Body>) {
    match error {
        RegistryError::OutOfOrder { repository, id, expected, .. } => {
            set(response, LOCATION, super::uploads::location(repository, id));
            set(response, RANGE, super::uploads::range(*expected));
        }
        RegistryError::RangeUnsatisfiable { size } => set(response, CONTENT_RANGE, format!("bytes */{size}")),
        RegistryError::Unsupported { allowed, .. } => set(response, ALLOW, allowed),
        RegistryError::BlobHeld { .. } | RegistryError::ManifestHeld { .. } => {
            set(response, ALLOW, "GET, HEAD")
        }
        RegistryError::Unauthorized { challenge } => set(response, WWW_AUTHENTICATE, challenge),
        RegistryError::TooMany { retry_after, .. } => {
            set(response, RETRY_AFTER, retry_after.as_secs().max(1).to_string());
        }
        _ => {}
    }
}

/// The whole chain of causes on one line.
fn chain(error: &RegistryError) -> String {
    match error {
        RegistryError::Storage(error) => error.chain(),
        other => {
            let mut line = other.to_string();
            let mut next = std::error::Error::source(other);
            while let Some(cause) = next {
                line.push_str(": ");
                line.push_str(&cause.to_string());
                next = cause.source();
            }
            line
        }
    }
}
