//! Failures of calls, and the server's `Status` as one of them.

use bytes::Bytes;
use hako_error::{Classify, Error, FieldCause, Kind};
use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

/// What can go wrong in a call.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the words of the messages")]
pub enum ClientError {
    /// The server refused; the text is its own.
    #[error("{message}")]
    Refused {
        code: u16,
        reason: String,
        message: String,
        causes: Vec<FieldCause>,
    },
    /// The request could not be built.
    #[error("build request to {path}")]
    Request { path: String, source: http::Error },
    /// The object could not be encoded.
    #[error("encode {what}")]
    Encode { what: String, source: serde_json::Error },
    /// The response is not what was asked for.
    #[error("decode {what}")]
    Decode { what: String, source: serde_json::Error },
    /// No connection.
    #[error("connect to API server {server}; check that it runs and that the kubeconfig is its own")]
    Connect {
        server: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke during the call.
    #[error("call API server {server}")]
    Call {
        server: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kubeconfig is no good.
    #[error("kubeconfig {path}: {problem}")]
    Kubeconfig { path: String, problem: String },
}

impl Classify for ClientError {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused { code, reason, .. } => kind_of(*code, reason),
            Self::Request { .. } | Self::Encode { .. } | Self::Kubeconfig { .. } => Kind::Invalid,
            Self::Decode { .. } => Kind::Internal,
            Self::Connect { .. } | Self::Call { .. } => Kind::Unavailable,
        }
    }

    fn causes(&self) -> Vec<FieldCause> {
        match self {
            Self::Refused { causes, .. } => causes.clone(),
            _ => Vec::new(),
        }
    }
}

/// The shared kind of a refusal. An expired revision or continue token is [`Kind::DataLoss`]'s harmless
/// neighbour, [`Kind::Cancelled`]: the server withdrew what it had promised; list again.
fn kind_of(code: u16, reason: &str) -> Kind {
    match (code, reason) {
        (409, "AlreadyExists") => Kind::AlreadyExists,
        (409, _) => Kind::Conflict,
        (400 | 406 | 413 | 415 | 422, _) => Kind::Invalid,
        (401, _) => Kind::Unauthorized,
        (403, _) => Kind::Forbidden,
        (404, _) => Kind::NotFound,
        (405 | 501, _) => Kind::Unimplemented,
        (410, _) => Kind::Cancelled,
        (412, _) => Kind::FailedPrecondition,
        (429, _) => Kind::Exhausted,
        (503, _) => Kind::Unavailable,
        (504, _) => Kind::DeadlineExceeded,
        _ => Kind::Internal,
    }
}

/// Whether the server said 410: the revision or continue token is too old, list again from the start.
#[must_use]
pub fn is_expired(error: &Error) -> bool {
    error.kind() == Kind::Cancelled
}

/// Decodes a refusal; a body that is no Status is quoted.
pub(crate) fn refusal(code: StatusCode, body: &Bytes) -> Error {
    let status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| Status {
        message: Some(format!("API server answered {code}: {}", quote(body))),
        ..Status::default()
    });
    from_status(code.as_u16(), status).into()
}

pub(crate) fn from_status(code: u16, status: Status) -> ClientError {
    let causes = status
        .details
        .and_then(|details| details.causes)
        .unwrap_or_default();
    ClientError::Refused {
        code: status
            .code
            .and_then(|code| u16::try_from(code).ok())
            .unwrap_or(code),
        reason: status.reason.unwrap_or_default(),
        message: status
            .message
            .unwrap_or_else(|| format!("API server answered {code}")),
        causes: causes
            .into_iter()
            .map(|cause| FieldCause {
                reason: cause.reason.unwrap_or_default(),
                message: cause.message.unwrap_or_default(),
                field: cause.field.unwrap_or_default(),
            })
            .collect(),
    }
}

fn quote(body: &Bytes) -> String {
    String::from_utf8_lossy(&body[..body.len().min(200)])
        .trim()
        .to_owned()
}
