//! `"%d of %s".format([1, "x"])` (cel-go's extension strings, version 2).

use super::{MAX_RESULT, Result, convert::show_double, too_long};
use crate::value::{List, Map};
use crate::{EvalError, Value, time, work};

/// Digits behind the point that anybody may ask for.
const MAX_PRECISION: usize = 1_000;
/// Digits behind the point where nobody asks for them.
const DIGITS: usize = 6;
const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];

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
        ('f', value) => Ok(fixed(double(value, "fixed-point")?, precision.unwrap_or(DIGITS))),
        ('e', value) => {
            let shown = scientific(double(value, "scientific")?);
            // Upstream takes the precision for a width.
            Ok(format!("{shown:>0$}", precision.unwrap_or(DIGITS)))
        }
        ('b', Value::Bool(value)) => Ok(u8::from(*value).to_string()),
        ('b', Value::Int(value)) => Ok(signed(*value, |value| format!("{value:b}"))),
        ('b', Value::Uint(value)) => Ok(format!("{value:b}")),
        ('o', Value::Int(value)) => Ok(signed(*value, |value| format!("{value:o}"))),
        ('o', Value::Uint(value)) => Ok(format!("{value:o}")),
        ('x', value) => hexadecimal(value),
        ('X', value) => Ok(hexadecimal(value)?.to_uppercase()),
        ('d', value) => Err(unfit("decimal clause can only be used on integers", value)),
        ('o', value) => Err(unfit("octal clause can only be used on integers", value)),
        ('b', value) => Err(unfit("only integers and bools can be formatted as binary", value)),
        (clause, _) => Err(bad(format!("unrecognized formatting clause \"{clause}\""))),
    }
}

fn unfit(what: &str, value: &Value<'_>) -> EvalError {
    bad(format!("{what}, was given {}", value.ty()))
}

fn double(value: &Value<'_>, clause: &str) -> std::result::Result<f64, EvalError> {
    match value {
        Value::Double(value) => Ok(*value),
        Value::String(text) if matches!(&**text, "NaN" | "Infinity" | "-Infinity") => {
            Ok(text.parse().unwrap_or(f64::NAN))
        }
        other => Err(unfit(&format!("{clause} clause can only be used on doubles"), other)),
    }
}

fn not_finite(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "∞",
        _ => "-∞",
    }
}

/// As English writes it, with a comma for each three digits.
fn fixed(value: f64, precision: usize) -> String {
    if !value.is_finite() {
        return not_finite(value).to_owned();
    }
    let shown = format!("{value:.precision$}");
    let (sign, digits) = shown.strip_prefix('-').map_or(("", shown.as_str()), |digits| ("-", digits));
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut out = sign.to_owned();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

/// As English writes it: `1.234500×10⁰³`.
fn scientific(value: f64) -> String {
    if !value.is_finite() {
        return not_finite(value).to_owned();
    }
    let shown = format!("{value:.DIGITS$e}");
    let Some((digits, exponent)) = shown.split_once('e') else { return shown };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("", exponent), |exponent| ("⁻", exponent));
    let raised = |digit: char| RAISED.get(digit.to_digit(10)? as usize);
    let exponent: String = format!("{exponent:0>2}").chars().filter_map(raised).collect();
    format!("{digits}×10{sign}{exponent}")
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
        other => Err(unfit("only integers, byte buffers, and strings can be formatted as hex", other)),
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
        Value::Double(value) => show_double(*value),
        Value::String(text) => text.to_string(),
        Value::Bytes(octets) => String::from_utf8_lossy(octets).into_owned(),
        Value::Timestamp(timestamp) => timestamp.to_string(),
        Value::Duration(nanos) => time::show_duration(*nanos),
        Value::Type(ty) => ty.name().to_owned(),
        Value::List(list) => list_text(list)?,
        Value::Map(map) => map_text(map)?,
        other => return Err(unfit(TAKEN_BY_TEXT, other)),
    })
}

const TAKEN_BY_TEXT: &str = "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps";

/// A value in a list or a map, as it would be written in an expression.
fn written(value: &Value<'_>) -> std::result::Result<String, EvalError> {
    let shown = text(value)?;
    Ok(match value {
        Value::String(_) => format!("{shown:?}"),
        Value::Bytes(_) => format!("b{shown:?}"),
        Value::Timestamp(_) => format!("timestamp({shown:?})"),
        Value::Duration(_) => format!("duration({shown:?})"),
        Value::Double(value) if !value.is_finite() => format!("{shown:?}"),
        Value::Double(value) => format!("{value:.DIGITS$}"),
        _ => shown,
    })
}

fn list_text(list: &List<'_>) -> std::result::Result<String, EvalError> {
    let items: std::result::Result<Vec<_>, _> = list.iter().map(|item| written(&item.checked()?)).collect();
    Ok(format!("[{}]", items?.join(", ")))
}

fn map_text(map: &Map<'_>) -> std::result::Result<String, EvalError> {
    let mut entries = Vec::new();
    for (key, value) in map.entries() {
        entries.push((written(&key.value())?, written(&value.checked()?)?));
    }
    entries.sort();
    let entries: Vec<_> = entries.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
    Ok(format!("{{{}}}", entries.join(", ")))
}
