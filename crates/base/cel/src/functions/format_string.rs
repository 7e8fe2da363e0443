//! `"%d of %s".format([1, "x"])` (cel-go's extension strings, version 2).

use super::{MAX_RESULT, Result, convert::show_double, too_long};
use crate::value::{List, Map};
use crate::{EvalError, Value, time, work};

/// Digits behind the point that anybody may ask for.
const MAX_PRECISION: usize = 1_000;

pub(super) fn format<'a>(template: &str, args: &List<'a>) -> Result<'a> {
    let mut out = String::new();
    let mut rest = template.chars().peekable();
    let mut next = 0;
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if rest.peek() == Some(&'%') {
            rest.next();
            out.push('%');
            continue;
        }
        let precision = precision(&mut rest)?;
        let Some(clause) = rest.next() else { return Err(bad("unexpected end of string".into())) };
        let Some(value) = args.get(next) else { return Err(bad(format!("index {next} out of range"))) };
        next += 1;
        out.push_str(&show(clause, precision, &value.checked()?)?);
        if out.len() > MAX_RESULT {
            return Err(too_long());
        }
    }
    Ok(Value::text(out))
}

fn bad(text: String) -> EvalError {
    EvalError::data(format!("error during formatting: {text}"))
}

fn precision(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> std::result::Result<Option<usize>, EvalError> {
    if rest.next_if_eq(&'.').is_none() {
        return Ok(None);
    }
    let mut digits = String::new();
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    match digits.parse() {
        Ok(precision) if precision <= MAX_PRECISION => Ok(Some(precision)),
        _ => Err(bad(format!("invalid precision {digits:?}"))),
    }
}

fn show(clause: char, precision: Option<usize>, value: &Value<'_>) -> std::result::Result<String, EvalError> {
    match (clause, value) {
        ('s', value) => text(value),
        ('d', Value::Int(value)) => Ok(value.to_string()),
        ('d', Value::Uint(value)) => Ok(value.to_string()),
        ('d', Value::Double(value)) if !value.is_finite() => Ok(not_finite(*value)),
        ('f' | 'e', Value::Double(value)) if !value.is_finite() => Ok(not_finite(*value)),
        ('f', value) => Ok(format!("{:.*}", precision.unwrap_or(6), number(value, clause)?)),
        ('e', value) => Ok(scientific(number(value, clause)?, precision.unwrap_or(6))),
        ('b', Value::Bool(value)) => Ok(u8::from(*value).to_string()),
        ('b', Value::Int(value)) => Ok(signed(*value, |value| format!("{value:b}"))),
        ('b', Value::Uint(value)) => Ok(format!("{value:b}")),
        ('o', Value::Int(value)) => Ok(signed(*value, |value| format!("{value:o}"))),
        ('o', Value::Uint(value)) => Ok(format!("{value:o}")),
        ('x', value) => hexadecimal(value),
        ('X', value) => Ok(hexadecimal(value)?.to_uppercase()),
        ('d' | 'b' | 'o', value) => Err(bad(format!("%{clause} does not take {}", value.ty()))),
        (clause, _) => Err(bad(format!("unrecognized formatting clause \"{clause}\""))),
    }
}

fn number(value: &Value<'_>, clause: char) -> std::result::Result<f64, EvalError> {
    match value {
        Value::Double(value) => Ok(*value),
        Value::Int(value) => Ok(*value as f64),
        Value::Uint(value) => Ok(*value as f64),
        other => Err(bad(format!("%{clause} does not take {}", other.ty()))),
    }
}

fn not_finite(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value > 0.0 {
        "Infinity".into()
    } else {
        "-Infinity".into()
    }
}

fn scientific(value: f64, precision: usize) -> String {
    let shown = format!("{value:.precision$e}");
    let Some((digits, exponent)) = shown.split_once('e') else { return shown };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

fn signed(value: i64, show: fn(u64) -> String) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}", show(value.unsigned_abs()))
}

fn hexadecimal(value: &Value<'_>) -> std::result::Result<String, EvalError> {
    let octets = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect();
    match value {
        Value::Int(value) => Ok(signed(*value, |value| format!("{value:x}"))),
        Value::Uint(value) => Ok(format!("{value:x}")),
        Value::String(text) => Ok(octets(text.as_bytes())),
        Value::Bytes(bytes) => Ok(octets(bytes)),
        other => Err(bad(format!("%x does not take {}", other.ty()))),
    }
}

/// What `%s` writes of any value.
fn text(value: &Value<'_>) -> std::result::Result<String, EvalError> {
    if !work::take(value.weight()) {
        return Err(EvalError::CostExceeded);
    }
    Ok(match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) if !value.is_finite() => not_finite(*value),
        Value::Double(value) => show_double(*value),
        Value::String(text) => text.to_string(),
        Value::Bytes(octets) => String::from_utf8_lossy(octets).into_owned(),
        Value::Timestamp(timestamp) => timestamp.to_string(),
        Value::Duration(nanos) => time::show_duration(*nanos),
        Value::Type(ty) => ty.name().to_owned(),
        Value::List(list) => list_text(list)?,
        Value::Map(map) => map_text(map)?,
        other => return Err(bad(format!("%s does not take {}", other.ty()))),
    })
}

fn list_text(list: &List<'_>) -> std::result::Result<String, EvalError> {
    let items: std::result::Result<Vec<_>, _> = list.iter().map(|item| text(&item.checked()?)).collect();
    Ok(format!("[{}]", items?.join(", ")))
}

fn map_text(map: &Map<'_>) -> std::result::Result<String, EvalError> {
    let mut entries = Vec::new();
    for (key, value) in map.entries() {
        entries.push(format!("{}: {}", text(&key.value())?, text(&value.checked()?)?));
    }
    entries.sort();
    Ok(format!("{{{}}}", entries.join(", ")))
}
