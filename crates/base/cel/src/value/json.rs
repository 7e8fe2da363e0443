//! JSON as values of declared types.

use super::{List, Map, Text, Value};
use crate::declared::Shape;
use crate::{Declared, EvalError, Type, time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use std::sync::{Arc, LazyLock};

static DYNAMIC: LazyLock<Declared> = LazyLock::new(Declared::dynamic);

/// `json` read as `declared`; what does not fit is a [`Value::Fault`].
pub(crate) fn from_json<'a>(json: &'a Json, declared: &'a Declared) -> Value<'a> {
    match (json, &declared.shape) {
        (Json::Null, _) => Value::Null,
        (_, Shape::Scalar(Type::Dyn)) => dynamic(json),
        (_, Shape::Scalar(ty)) => scalar(json, ty),
        (Json::Array(items), Shape::List { element, kind }) => {
            Value::List(List::Json { items, element, kind })
        }
        (Json::Object(entries), Shape::Map { value, .. }) => Value::Map(Map::Json(entries, value)),
        (Json::Object(fields), Shape::Object(object)) => Value::Map(Map::Object(fields, object)),
        (_, shape) => mismatch(json, kind_of(shape)),
    }
}

fn kind_of(shape: &Shape) -> &'static str {
    match shape {
        Shape::List { .. } => "a list",
        Shape::Map { .. } => "a map",
        Shape::Object(_) => "an object",
        Shape::Scalar(_) => "a scalar",
    }
}

fn mismatch<'a>(json: &Json, wanted: &str) -> Value<'a> {
    let got = match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    };
    Value::Fault(Arc::new(EvalError::data(format!("invalid data, expected {wanted}, got {got}"))))
}

/// JSON of no declared type: whole numbers are `int`.
fn dynamic(json: &Json) -> Value<'_> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => number_of(number),
        Json::String(text) => Value::borrowed(text),
        Json::Array(items) => {
            Value::List(List::Json { items, element: &DYNAMIC, kind: &crate::declared::ListKind::Atomic })
        }
        Json::Object(entries) => Value::Map(Map::Json(entries, &DYNAMIC)),
    }
}

fn number_of<'a>(number: &serde_json::Number) -> Value<'a> {
    match (number.as_i64(), number.as_u64()) {
        (Some(value), _) => Value::Int(value),
        (None, Some(value)) => Value::Uint(value),
        (None, None) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
    }
}

fn scalar<'a>(json: &'a Json, ty: &Type) -> Value<'a> {
    match (ty, json) {
        (Type::Bool, Json::Bool(value)) => Value::Bool(*value),
        (Type::Int, Json::Number(number)) => integer(json, number),
        (Type::Uint, Json::Number(number)) => {
            number.as_u64().map_or_else(|| mismatch(json, "uint"), Value::Uint)
        }
        (Type::Double, Json::Number(number)) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        (Type::String, Json::String(text)) => Value::String(Text::Borrowed(text)),
        (Type::Bytes, Json::String(text)) => octets(text),
        (Type::Timestamp, Json::String(text)) => {
            from_text(time::timestamp(text).map(Value::Timestamp), "date-time", text)
        }
        (Type::Duration, Json::String(text)) => {
            from_text(time::duration_format(text).map(Value::Duration), "duration", text)
        }
        (ty, json) => mismatch(json, &ty.to_string()),
    }
}

/// Beyond it not every whole number is a float.
const MAX_WHOLE_FLOAT: f64 = 9_007_199_254_740_991.0;

/// A whole number, also when written as `3.0`.
fn integer<'a>(json: &Json, number: &serde_json::Number) -> Value<'a> {
    if let Some(value) = number.as_i64() {
        return Value::Int(value);
    }
    match number.as_f64() {
        Some(value) if value.fract() == 0.0 && value.abs() <= MAX_WHOLE_FLOAT => Value::Int(value as i64),
        _ => mismatch(json, "int"),
    }
}

fn octets<'a>(text: &str) -> Value<'a> {
    match STANDARD.decode(text) {
        Ok(octets) => Value::Bytes(octets.into()),
        Err(_) => {
            Value::Fault(Arc::new(EvalError::data("invalid data, expected base64 for format byte".into())))
        }
    }
}

fn from_text<'a>(parsed: Option<Value<'a>>, format: &str, text: &str) -> Value<'a> {
    parsed.unwrap_or_else(|| {
        Value::Fault(Arc::new(EvalError::data(format!(
            "invalid data, expected format {format}, got {text:?}"
        ))))
    })
}
