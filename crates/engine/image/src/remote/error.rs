//! What can go wrong between us and a registry.

use hako_error::{Classify, Kind};
use hako_names::Digest;
use http::StatusCode;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A cause of any type.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to a registry failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Not a host that can be called.
    #[error("registry {host:?} is not host[:port]")]
    Host {
        /// What was given.
        host: String,
    },
    /// A certificate authority's file cannot be used.
    #[error("certificate authority {path:?} cannot be used")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// Our own certificate, or its key, cannot be used.
    #[error("client certificate {path:?} cannot be used")]
    Client {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// No connection.
    #[error("cannot connect to registry {host}")]
    Connect {
        /// The registry.
        host: String,
        /// Why.
        source: Cause,
    },
    /// The name service knows no address of the registry.
    #[error("registry {host} has no address")]
    NoAddress {
        /// The registry.
        host: String,
        /// Why.
        source: Cause,
    },
    /// TLS failed for a registry that must not be spoken to in plain text.
    #[error(
        "registry {host} has no certificate that is trusted here; give its authority's file, or allow plain HTTP \
         if it has no TLS"
    )]
    Tls {
        /// The registry.
        host: String,
        /// Why.
        source: Cause,
    },
    /// The connection broke.
    #[error("the connection to registry {host} broke in {what}")]
    Broken {
        /// The registry.
        host: String,
        /// What was being done.
        what: String,
        /// Why.
        source: Cause,
    },
    /// No answer, or no byte, for too long.
    #[error("registry {host} said nothing for {after:?} in {what}")]
    Silent {
        /// The registry.
        host: String,
        /// What was being done.
        what: String,
        /// How long.
        after: Duration,
    },
    /// It wants other credentials, or any.
    #[error("registry {host} refuses {what}: {reason}; log in with \"hako login {host}\"")]
    Unauthorized {
        /// The registry.
        host: String,
        /// What was asked.
        what: String,
        /// What it said.
        reason: String,
    },
    /// Too many requests.
    #[error("registry {host} asks for fewer requests: {what} may be tried again {}", again(*retry_after))]
    TooManyRequests {
        /// The registry.
        host: String,
        /// What was asked.
        what: String,
        /// When it may be asked again.
        retry_after: Option<Duration>,
    },
    /// Any other answer that is not the one hoped for.
    #[error("registry {host} answered {what} with {status}{}", said(code, message))]
    Status {
        /// The registry.
        host: String,
        /// What was asked.
        what: String,
        /// Its status.
        status: StatusCode,
        /// The first code of its `errors`, such as `MANIFEST_UNKNOWN`; empty if it gave none.
        code: String,
        /// The message beside it.
        message: String,
    },
    /// An answer that breaks the protocol.
    #[error("registry {host} answered {what} with something unusable: {reason}")]
    Protocol {
        /// The registry.
        host: String,
        /// What was asked.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// More bytes than may come.
    #[error("{what} from registry {host} is larger than {limit} bytes")]
    TooLarge {
        /// The registry.
        host: String,
        /// What it is.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// Bytes that hash to something else than their name.
    #[error(
        "{what} from registry {host}: digest mismatch, expected {expected} but the bytes hash to {actual}"
    )]
    Digest {
        /// The registry.
        host: String,
        /// What it is.
        what: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// What is to be sent cannot be read.
    #[error("cannot read {path:?} to send it")]
    Source {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn again(after: Option<Duration>) -> String {
    match after {
        Some(after) => format!("in {} s", after.as_secs()),
        None => "later".to_owned(),
    }
}

fn said(code: &str, message: &str) -> String {
    match (code, message) {
        ("", "") => String::new(),
        ("", text) | (text, "") => format!(": {text}"),
        (code, message) => format!(": {code}: {message}"),
    }
}

impl Classify for RemoteError {
    fn kind(&self) -> Kind {
        match self {
            Self::Host { .. } | Self::Authority { .. } | Self::Client { .. } => Kind::Invalid,
            Self::Connect { .. } | Self::NoAddress { .. } | Self::Broken { .. } => Kind::Unavailable,
            Self::Tls { .. } => Kind::FailedPrecondition,
            Self::Silent { .. } => Kind::DeadlineExceeded,
            Self::Unauthorized { .. } => Kind::Unauthorized,
            Self::TooManyRequests { .. } => Kind::Exhausted,
            Self::Protocol { .. } | Self::TooLarge { .. } | Self::Digest { .. } => Kind::Invalid,
            Self::Source { .. } => Kind::Internal,
            Self::Status { status, .. } => kind_of(*status),
        }
    }
}

fn kind_of(status: StatusCode) -> Kind {
    match status.as_u16() {
        401 => Kind::Unauthorized,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        405 | 501 => Kind::Unimplemented,
        409 => Kind::Conflict,
        413 | 429 | 507 => Kind::Exhausted,
        500..=599 => Kind::Unavailable,
        _ => Kind::Invalid,
    }
}

impl RemoteError {
    /// The status of the answer, if there was one that says no.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Unauthorized { .. } => Some(StatusCode::UNAUTHORIZED),
            Self::TooManyRequests { .. } => Some(StatusCode::TOO_MANY_REQUESTS),
            _ => None,
        }
    }

    /// Whether it says that the thing asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }

    /// Whether the same call can succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Broken { .. }
            | Self::Silent { .. }
            | Self::TooManyRequests { .. } => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 408 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// How long the registry wants to be left alone, if it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
