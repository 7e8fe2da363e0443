//! Conversions between types (langdef.md, "Type Conversions").

use super::{Args, Result};
use crate::overload::{Cost, Row};
use crate::value::Text;
use crate::{EvalError, Instant, Value, time};
use std::sync::Arc;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("type", "type", "A", "type(A)", Cost::One, |args| Ok(Value::Type(args[0].ty()))),
    Row("to_dyn", "dyn", "A", "dyn", Cost::One, same),
    Row("bool_to_bool", "bool", "bool", "bool", Cost::One, same),
    Row("string_to_bool", "bool", "string", "bool", Cost::One, to_bool),
    Row("bytes_to_bytes", "bytes", "bytes", "bytes", Cost::One, same),
    Row("string_to_bytes", "bytes", "string", "bytes", Cost::StringToBytes, to_bytes),
    Row("double_to_double", "double", "double", "double", Cost::One, same),
    Row("int64_to_double", "double", "int", "double", Cost::One, to_double),
    Row("uint64_to_double", "double", "uint", "double", Cost::One, to_double),
    Row("string_to_double", "double", "string", "double", Cost::One, to_double),
    Row("duration_to_duration", "duration", "duration", "duration", Cost::One, same),
    Row("string_to_duration", "duration", "string", "duration", Cost::One, to_duration),
    Row("int64_to_int64", "int", "int", "int", Cost::One, same),
    Row("double_to_int64", "int", "double", "int", Cost::One, to_int),
    Row("duration_to_int64", "int", "duration", "int", Cost::One, to_int),
    Row("string_to_int64", "int", "string", "int", Cost::One, to_int),
    Row("timestamp_to_int64", "int", "timestamp", "int", Cost::One, to_int),
    Row("uint64_to_int64", "int", "uint", "int", Cost::One, to_int),
    Row("string_to_string", "string", "string", "string", Cost::One, same),
    Row("bool_to_string", "string", "bool", "string", Cost::One, to_string),
    Row("bytes_to_string", "string", "bytes", "string", Cost::BytesToString, to_string),
    Row("double_to_string", "string", "double", "string", Cost::One, to_string),
    Row("duration_to_string", "string", "duration", "string", Cost::One, to_string),
    Row("int64_to_string", "string", "int", "string", Cost::One, to_string),
    Row("timestamp_to_string", "string", "timestamp", "string", Cost::One, to_string),
    Row("uint64_to_string", "string", "uint", "string", Cost::One, to_string),
    Row("timestamp_to_timestamp", "timestamp", "timestamp", "timestamp", Cost::One, same),
    Row("int64_to_timestamp", "timestamp", "int", "timestamp", Cost::One, to_timestamp),
    Row("string_to_timestamp", "timestamp", "string", "timestamp", Cost::One, to_timestamp),
    Row("uint64_to_uint64", "uint", "uint", "uint", Cost::One, same),
    Row("double_to_uint64", "uint", "double", "uint", Cost::One, to_uint),
    Row("int64_to_uint64", "uint", "int", "uint", Cost::One, to_uint),
    Row("string_to_uint64", "uint", "string", "uint", Cost::One, to_uint),
];

fn same<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(args[0].clone())
}

fn no_conversion(text: &str, ty: &str) -> EvalError {
    EvalError::data(format!("type conversion error from '{text}' to '{ty}'"))
}

fn to_bool<'a>(args: &[Value<'a>]) -> Result<'a> {
    match Args(args).text(0)? {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
        text => Err(no_conversion(text, "bool")),
    }
}

fn to_bytes<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bytes(Arc::from(Args(args).text(0)?.as_bytes())))
}

fn to_double<'a>(args: &[Value<'a>]) -> Result<'a> {
    match &args[0] {
        Value::Int(value) => Ok(Value::Double(*value as f64)),
        Value::Uint(value) => Ok(Value::Double(*value as f64)),
        Value::String(text) => text.parse().map(Value::Double).map_err(|_| no_conversion(text, "double")),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn to_duration<'a>(args: &[Value<'a>]) -> Result<'a> {
    let text = Args(args).text(0)?;
    time::duration(text).map(Value::Duration).ok_or_else(|| no_conversion(text, "google.protobuf.Duration"))
}

fn to_int<'a>(args: &[Value<'a>]) -> Result<'a> {
    let value = match &args[0] {
        Value::Double(value) if value.is_finite() && value.abs() < 9.223_372_036_854_776e18 => *value as i64,
        Value::Double(_) => return Err(EvalError::Overflow("integer")),
        Value::Duration(nanos) => *nanos,
        Value::Timestamp(timestamp) => timestamp.seconds(),
        Value::Uint(value) => i64::try_from(*value).map_err(|_| EvalError::Overflow("integer"))?,
        Value::String(text) => text.parse().map_err(|_| no_conversion(text, "int"))?,
        _ => return Err(EvalError::NoSuchOverload),
    };
    Ok(Value::Int(value))
}

fn to_uint<'a>(args: &[Value<'a>]) -> Result<'a> {
    const OVERFLOW: EvalError = EvalError::Overflow("unsigned integer");
    let value = match &args[0] {
        Value::Double(value) if (0.0..1.844_674_407_370_955_2e19).contains(value) => *value as u64,
        Value::Double(_) => return Err(OVERFLOW),
        Value::Int(value) => u64::try_from(*value).map_err(|_| OVERFLOW)?,
        Value::String(text) => text.parse().map_err(|_| no_conversion(text, "uint"))?,
        _ => return Err(EvalError::NoSuchOverload),
    };
    Ok(Value::Uint(value))
}

fn to_timestamp<'a>(args: &[Value<'a>]) -> Result<'a> {
    match &args[0] {
        Value::Int(seconds) => Instant::from_nanos(i128::from(*seconds) * i128::from(time::SECOND))
            .map(Value::Timestamp)
            .ok_or(EvalError::Overflow("timestamp")),
        Value::String(text) => time::timestamp(text)
            .map(Value::Timestamp)
            .ok_or_else(|| no_conversion(text, "google.protobuf.Timestamp")),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn to_string<'a>(args: &[Value<'a>]) -> Result<'a> {
    let text = match &args[0] {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => show_double(*value),
        Value::Duration(nanos) => time::show_duration(*nanos),
        Value::Timestamp(timestamp) => timestamp.to_string(),
        Value::Bytes(octets) => String::from_utf8(octets.to_vec())
            .map_err(|_| EvalError::data("invalid UTF-8 in bytes, cannot convert to string".into()))?,
        _ => return Err(EvalError::NoSuchOverload),
    };
    Ok(Value::String(Text::Shared(text.into())))
}

/// The shortest digits that give the number back, with an exponent as Go's `%g` puts it.
pub(super) fn show_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    value.to_string()
}
