//! The version of the API that a request speaks.

use axum::extract::FromRequestParts;
use http::request::Parts;
use std::convert::Infallible;
use std::fmt;

/// A version, such as 1.45. Requests without one in their path speak the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(pub(crate) u32, pub(crate) u32);

/// The newest version of the API we speak.
pub(crate) const NEWEST: ApiVersion = ApiVersion(1, 51);
/// The oldest one.
pub(crate) const OLDEST: ApiVersion = ApiVersion(1, 24);

impl ApiVersion {
    /// Whether it is `1.minor` or newer.
    pub(crate) fn has(self, minor: u32) -> bool {
        self >= Self(1, minor)
    }

    /// `1.45` as a path has it behind its `v`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ApiVersion {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(NEWEST))
    }
}
