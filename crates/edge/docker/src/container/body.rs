//! JSON bodies: what cannot be read is refused in Docker's form.

use crate::error::{Failure, invalid};
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use serde::de::DeserializeOwned;

/// A body of JSON, whatever its content type says.
#[derive(Clone, Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error| invalid(format!("request body: {error}")))?;
        if body.trim_ascii().is_empty() {
            return Err(invalid("invalid JSON: got EOF while reading request body"));
        }
        let parsed = serde_json::from_slice(&body);
        parsed.map(Self).map_err(|error| invalid(format!("invalid JSON: {error}")))
    }
}
