//! JSON bodies: what cannot be read is refused in Docker's form.

use crate::error::{Failure, invalid};
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

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
        let parsed = serde_json::from_slice(&body).and_then(|mut json| {
            drop_nulls(&mut json, false);
            serde_json::from_value(json)
        });
        parsed.map(Self).map_err(|error| invalid(format!("invalid JSON: {error}")))
    }
}

/// Members whose keys are names of the client's: a key with null is there all the same.
const MAPS: [&str; 6] =
    ["EndpointsConfig", "ExposedPorts", "Volumes", "PortBindings", "AuxiliaryAddresses", "Labels"];

/// To Docker a field that is null is one that is not there.
fn drop_nulls(json: &mut Value, is_map: bool) {
    match json {
        Value::Object(members) => {
            members.retain(|_, value| is_map || !value.is_null());
            members.iter_mut().for_each(|(name, value)| drop_nulls(value, MAPS.contains(&name.as_str())));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| drop_nulls(value, false)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
