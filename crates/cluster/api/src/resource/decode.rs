//! From a request's body to an object of the right kind.

use http::header;
use serde_json::{Map, Value};

use crate::http::{Answer, Failure, Outcome, Request, answer};
use crate::kinds::KindRow;
use hako_kube::Status;

/// An object as sent, and what there is to say about it.
#[derive(Debug)]
pub(super) struct Sent {
    pub object: Value,
    pub warnings: Vec<String>,
}

impl Sent {
    /// Adds the warnings to the answer.
    pub(super) fn warn(warnings: &[String], mut response: Answer) -> Answer {
        answer::warn(&mut response, warnings);
        response
    }
}

/// Decodes a whole object of the row's kind.
pub(super) fn object(request: &Request, row: &KindRow) -> Outcome<Sent> {
    let mut sent = any(request)?;
    set_type(&mut sent.object, &row.api_version(), row.kind)?;
    Ok(sent)
}

/// Decodes a body of any kind: JSON, or YAML where the content type says so.
pub(super) fn any(request: &Request) -> Outcome<Sent> {
    let content_type = request.header(header::CONTENT_TYPE);
    let media = content_type.split(';').next().unwrap_or("").trim();
    let object: Value = match media {
        "" | "application/json" => json(&request.body)?,
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml(&request.body)?,
        other => {
            let text = format!(
                "the body of the request was in an unknown format - accepted media types include: application/json, \
                 application/yaml; got {other:?}"
            );
            return Err(Status::failure(415, "UnsupportedMediaType", text).into());
        }
    };
    Ok(Sent { object, warnings: Vec::new() })
}

pub(super) fn json(body: &[u8]) -> Outcome<Value> {
    serde_json::from_slice(body).map_err(|error| Failure::bad_request(format!("the body is no JSON: {error}")))
}

pub(super) fn yaml(body: &[u8]) -> Outcome<Value> {
    let text = std::str::from_utf8(body).map_err(|_| Failure::bad_request("the body is no UTF-8"))?;
    serde_saphyr::from_str(text).map_err(|error| Failure::bad_request(format!("the body is no YAML: {error}")))
}

/// Fills in the type an object may leave out; refuses another one.
pub(super) fn set_type(object: &mut Value, api_version: &str, kind: &str) -> Outcome<()> {
    let map = members(object)?;
    for (name, wanted) in [("apiVersion", api_version), ("kind", kind)] {
        match map.get(name).and_then(Value::as_str) {
            None | Some("") => {
                map.insert(name.to_owned(), wanted.into());
            }
            Some(given) if given == wanted => {}
            Some(given) => {
                let text = format!(
                    "the {name} in the data ({given}) does not match the expected {name} ({wanted})"
                );
                return Err(Failure::bad_request(text));
            }
        }
    }
    let metadata = map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    if metadata.is_object() { Ok(()) } else { Err(Failure::bad_request("metadata is no object")) }
}

fn members(object: &mut Value) -> Outcome<&mut Map<String, Value>> {
    object.as_object_mut().ok_or_else(|| Failure::bad_request("the body is no JSON object"))
}

/// JSON, or YAML if it is not that.
pub(super) fn yaml_or_json(body: &[u8]) -> Outcome<Value> {
    json(body).or_else(|_| yaml(body))
}
