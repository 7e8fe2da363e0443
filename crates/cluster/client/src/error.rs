//! Failures of calls, and the server's `Status` as one of them.

use bytes::Bytes;
use hako_error::{Classify, Error, Kind};
use hako_kube::Status;
use http::StatusCode;

/// What can go wrong in a call.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the words of the messages")]
pub enum ClientError {
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
    Connect { server: String, source: Box<dyn std::error::Error + Send + Sync> },
    /// The connection broke during the call.
    #[error("call API server {server}")]
    Call { server: String, source: Box<dyn std::error::Error + Send + Sync> },
    /// The kubeconfig is no good.
    #[error("kubeconfig {path}: {problem}")]
    Kubeconfig { path: String, problem: String },
}

impl Classify for ClientError {
    fn kind(&self) -> Kind {
        match self {
            Self::Request { .. } | Self::Encode { .. } | Self::Kubeconfig { .. } => Kind::Invalid,
            Self::Decode { .. } => Kind::Internal,
            Self::Connect { .. } | Self::Call { .. } => Kind::Unavailable,
        }
    }
}

/// Whether the server said 410: the revision or continue token is too old, list again from the start.
#[must_use]
pub fn is_expired(error: &Error) -> bool {
    hako_kube::status::is_expired(error)
}

/// Decodes a refusal; a body that is no Status is quoted.
pub(crate) fn refusal(code: StatusCode, body: &Bytes) -> Error {
    let status = serde_json::from_slice::<Status>(body).ok().filter(|status| status.kind == "Status");
    let quoted = || {
        let text = format!("API server answered {code}: {}", quote(body));
        Status::failure(code.as_u16(), "", text)
    };
    status.unwrap_or_else(quoted).to_error()
}

fn quote(body: &Bytes) -> String {
    String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned()
}
