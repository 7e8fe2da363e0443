//! From a request's body to an object of the right kind.

use hako_error::Error;
use hako_kube::Status;
use http::header;
use serde_json::{Map, Value};

use crate::http::{Failure, Outcome, Request};
use crate::kinds::Served;
use crate::protobuf::{self, ProtobufError};
use crate::schema::decode::DecodeError;
use crate::schema::syntax::go_kind;
use crate::schema::{self, Decoded, FieldValidation};

/// An object as sent, and what there is to say about it.
#[derive(Debug)]
pub(super) struct Sent {
    pub object: Value,
    pub warnings: Vec<String>,
}

/// Decodes a whole object of the row's kind.
pub(super) fn object(request: &Request, row: &Served) -> Outcome<Sent> {
    let mut decoded = body(request, &row.kind)?;
    set_type(&mut decoded.value, row.api_version(), &row.kind)?;
    fit(request, row, decoded)
}

/// Checks the fields of an object that a patch made.
pub(super) fn admit(request: &Request, row: &Served, mut object: Value) -> Outcome<Sent> {
    set_type(&mut object, row.api_version(), &row.kind)?;
    fit(request, row, Decoded::of(object))
}

/// How strictly what is sent is to be taken.
pub(super) fn validation(request: &Request) -> Outcome<FieldValidation> {
    let wanted = match request.query.get("fieldValidation") {
        None if request.is_inside => return Ok(FieldValidation::Ignore),
        wanted => wanted.unwrap_or(""),
    };
    FieldValidation::parse(wanted).ok_or_else(|| {
        Failure::bad_request(format!(
            "fieldValidation: Unsupported value: {wanted:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
        ))
    })
}

fn fit(request: &Request, row: &Served, decoded: Decoded) -> Outcome<Sent> {
    if request.is_inside && request.query.get("fieldValidation").is_none() {
        return Ok(Sent { object: decoded.value, warnings: Vec::new() });
    }
    let mode = validation(request)?;
    let admitted = schema::admit(row, decoded, mode)?;
    Ok(Sent { object: admitted.object, warnings: admitted.warnings })
}

/// Decodes the body of a type that is no kind of its own row, unchecked.
pub(super) fn any(request: &Request, kind: &str) -> Outcome<Value> {
    Ok(body(request, kind)?.value)
}

/// JSON, or YAML or protobuf where the content type says so.
fn body(request: &Request, kind: &str) -> Outcome<Decoded> {
    let content_type = request.header(header::CONTENT_TYPE);
    let decoded = match content_type.split(';').next().unwrap_or("").trim() {
        "" | "application/json" if request.is_inside => {
            return Ok(Decoded::of(json(&request.body)?));
        }
        "" | "application/json" => schema::decode::json(&request.body),
        "application/yaml" | "text/yaml" | "application/x-yaml" => schema::decode::yaml(&request.body),
        protobuf::MEDIA_TYPE => {
            let value = protobuf::object(&request.body).map_err(unread)?;
            return Ok(Decoded::of(value));
        }
        other => {
            let text = format!(
                "the body of the request was in an unknown format - accepted media types include: application/json, \
                 application/yaml, {}; got {other:?}",
                protobuf::MEDIA_TYPE
            );
            return Err(Status::failure(415, "UnsupportedMediaType", text).into());
        }
    };
    decoded.map_err(|error| match error {
        DecodeError::Json(fault) => {
            unrecognized(kind, &format!("{NO_TYPE}; json parse error: {fault}"), &request.body)
        }
        other => Error::from(other).into(),
    })
}

const NO_TYPE: &str = "couldn't get version/kind";
/// Bytes of what was sent that a refusal shows.
const SHOWN: usize = 30;

/// What was sent has no type, so that there is no saying what it is.
fn unrecognized(kind: &str, why: &str, sent: &[u8]) -> Failure {
    let (shown, more) = (&sent[..sent.len().min(SHOWN)], if sent.len() > SHOWN { " ..." } else { "" });
    let shown = match shown.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned(),
        Some(_) => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    Failure::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({shown}{more})"
    ))
}

/// A kind that has no form in protobuf may be sent in another.
fn unread(error: ProtobufError) -> Failure {
    match error {
        ProtobufError::UnknownKind { .. } => {
            Status::failure(415, "UnsupportedMediaType", error.to_string()).into()
        }
        other => Error::from(other).into(),
    }
}

/// What is sent to a part of an object that has a type of its own, as that type has it: what is of another type must not be
/// taken for nothing.
pub(super) fn part(request: &Request, mut sent: Value, api_version: &str, type_name: &str) -> Outcome<Value> {
    let kind = type_name.rsplit('.').next().unwrap_or(type_name);
    set_type(&mut sent, api_version, kind)?;
    let version = api_version.rsplit('/').next().unwrap_or(api_version);
    let decoded = Decoded::of(sent);
    Ok(schema::admit_as(kind, version, type_name, decoded, validation(request)?)?.object)
}

/// Decodes JSON that is no object of a kind, such as a patch.
pub(super) fn json(body: &[u8]) -> Outcome<Value> {
    serde_json::from_slice(body).map_err(|error| Failure::bad_request(schema::decode::fault(body, &error)))
}

/// Decodes YAML or JSON that is no whole object.
pub(super) fn yaml(body: &[u8]) -> Outcome<Value> {
    Ok(schema::decode::yaml(body).map_err(Error::from)?.value)
}

/// Fills in the type an object may leave out; refuses another one.
pub(super) fn set_type(object: &mut Value, api_version: &str, kind: &str) -> Outcome<()> {
    if let Some(fault) = type_fault(object) {
        let sent = object.to_string();
        return Err(unrecognized(kind, &format!("{NO_TYPE}; json parse error: {fault}"), sent.as_bytes()));
    }
    let Some(map) = object.as_object_mut() else { return Ok(()) };
    for (name, what, wanted) in [("apiVersion", "API version", api_version), ("kind", "kind", kind)] {
        match map.get(name).and_then(Value::as_str) {
            None | Some("") => {
                map.insert(name.to_owned(), wanted.into());
            }
            Some(given) if given == wanted => {}
            Some(given) => {
                let text =
                    format!("the {what} in the data ({given}) does not match the expected {what} ({wanted})");
                return Err(Failure::bad_request(text));
            }
        }
    }
    let metadata = map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if metadata.is_null() {
        *metadata = Value::Object(Map::new());
    }
    if metadata.is_object() {
        return Ok(());
    }
    let (given, version) = (go_kind(metadata), api_version.rsplit('/').next().unwrap_or(api_version));
    Err(Failure::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: json: cannot unmarshal {given} into Go struct field \
         {kind}.metadata of type v1.ObjectMeta"
    )))
}

/// Why the type of what was sent cannot be told.
fn type_fault(object: &Value) -> Option<String> {
    let Some(map) = object.as_object() else {
        return Some(format!(
            "json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \
             \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
            go_kind(object)
        ));
    };
    let given = |name: &&str| map.get(*name).filter(|value| !value.is_string() && !value.is_null());
    ["apiVersion", "kind"].iter().find_map(|name| {
        let given = go_kind(given(name)?);
        Some(format!("json: cannot unmarshal {given} into Go struct field .{name} of type string"))
    })
}
