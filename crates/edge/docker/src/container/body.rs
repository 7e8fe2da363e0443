//! JSON bodies: what cannot be read is refused in Docker's form.

use crate::error::{Failure, invalid};
use crate::names;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// How long a client may take to send such a body: one that says it sends more than it does must not be waited for.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Reads a body that is small, as long as that takes no longer than it should.
pub(crate) async fn timely<T>(read: impl Future<Output = T>) -> Result<T, Failure> {
    let late =
        |_| invalid(format!("request body: not all of it came within {} seconds", BODY_TIME.as_secs()));
    tokio::time::timeout(BODY_TIME, read).await.map_err(late)
}

/// A body of JSON that is said to be JSON.
#[derive(Clone, Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        check_type(request.headers(), request.body())?;
        AnyBody::from_request(request, state).await.map(|AnyBody(body)| Self(body))
    }
}

/// The same of requests whose content type nobody looks at.
#[derive(Clone, Debug)]
pub(crate) struct AnyBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for AnyBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = timely(Bytes::from_request(request, state)).await?;
        let body = body.map_err(|error| invalid(format!("request body: {error}")))?;
        if body.trim_ascii().is_empty() {
            return Err(invalid("invalid JSON: got EOF while reading request body"));
        }
        let unread = |error: serde_json::Error| invalid(format!("invalid JSON: {error}"));
        let mut json = serde_json::from_slice(&body).map_err(unread)?;
        check_object("the body", &json).map_err(unread)?;
        names::spell(&mut json);
        drop_nulls(&mut json, false);
        typed(json).map(Self).map_err(|error| invalid(format!("invalid JSON: {error}")))
    }
}

/// Refuses what does not say that it is JSON. That matters to browsers: a page of somebody else may have them send forms and
/// plain text anywhere, and JSON only where it is let.
pub(crate) fn check_type(headers: &HeaderMap, body: &Body) -> Result<(), Failure> {
    let said = headers.get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap_or("?"));
    if said.is_empty() && body.size_hint().exact() == Some(0) {
        return Ok(());
    }
    let mut parts = said.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    match is_json && parts.all(|parameter| parameter.is_empty() || parameter.contains('=')) {
        true => Ok(()),
        false => Err(invalid(format!("Content-Type specified ({said}) must be 'application/json'"))),
    }
}

/// What JSON says, or which field says something else.
pub(crate) fn typed<T: DeserializeOwned>(
    json: Value,
) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    serde_path_to_error::deserialize(json)
}

/// A list is no object: it would be read as one whose fields come in the order of ours.
pub(crate) fn check_object(what: &str, json: &Value) -> serde_json::Result<()> {
    match json.is_array() {
        true => Err(serde::de::Error::custom(format!("{what} is a list, and has to be an object"))),
        false => Ok(()),
    }
}

/// To Docker a field that is null is one that is not there.
fn drop_nulls(json: &mut Value, is_map: bool) {
    match json {
        Value::Object(members) => {
            members.retain(|_, value| is_map || !value.is_null());
            members.iter_mut().for_each(|(name, value)| drop_nulls(value, names::is_map(name)));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| drop_nulls(value, false)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let begun = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{\"Image\":"))]);
        let body =
            axum::body::Body::from_stream(futures::StreamExt::chain(begun, futures::stream::pending()));
        let request = Request::builder()
            .header("content-length", 500)
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let refused = JsonBody::<Value>::from_request(request, &()).await.unwrap_err();
        assert!(refused.0.chain().contains("within 30 seconds"), "{}", refused.0.chain());
    }

    #[test]
    fn fields_that_are_null_are_not_there_and_names_that_have_null_are() {
        let mut body = json!({
            "Image": "x", "Cmd": null, "Healthcheck": { "Test": ["CMD"], "Retries": null },
            "NetworkingConfig": { "EndpointsConfig": { "app": null, "other": { "Links": null } } },
        });
        drop_nulls(&mut body, false);
        let left = json!({
            "Image": "x", "Healthcheck": { "Test": ["CMD"] },
            "NetworkingConfig": { "EndpointsConfig": { "app": null, "other": {} } },
        });
        assert_eq!(body, left);
    }
}
