//! JSON bodies: what cannot be read is refused in Docker's form.

use crate::error::{Failure, invalid};
use crate::names;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
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

/// A body of JSON, whatever its content type says.
#[derive(Clone, Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = timely(Bytes::from_request(request, state)).await?;
        let body = body.map_err(|error| invalid(format!("request body: {error}")))?;
        if body.trim_ascii().is_empty() {
            return Err(invalid("invalid JSON: got EOF while reading request body"));
        }
        let parsed = serde_json::from_slice(&body).and_then(|mut json| {
            check_object("the body", &json)?;
            names::spell(&mut json);
            drop_nulls(&mut json, false);
            serde_json::from_value(json)
        });
        parsed.map(Self).map_err(|error| invalid(format!("invalid JSON: {error}")))
    }
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
        let request = Request::builder().header("content-length", 500).body(body).unwrap();
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
