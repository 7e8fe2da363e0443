//! Strings (langdef.md; cel-go's extension strings, version 2; Kubernetes' `jsonpatch.escapeKey`).
//!
//! Places in strings are counted in code points.

use super::{Args, MAX_RESULT, Result, format_string, too_long};
use crate::overload::{Cost, Row};
use crate::value::characters;
use crate::{EvalError, Value};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("contains_string", ".contains", "string string", "bool", Cost::Contains, |args| holds(args, |text, part| text.contains(part))),
    Row("ends_with_string", ".endsWith", "string string", "bool", Cost::Affix, |args| holds(args, |text, part| text.ends_with(part))),
    Row("starts_with_string", ".startsWith", "string string", "bool", Cost::Affix, |args| holds(args, |text, part| text.starts_with(part))),
    Row("string_char_at_int", ".charAt", "string int", "string", Cost::One, char_at),
    Row("string_index_of_string", ".indexOf", "string string", "int", Cost::Scan, index_of),
    Row("string_index_of_string_int", ".indexOf", "string string int", "int", Cost::Scan, index_of),
    Row("string_last_index_of_string", ".lastIndexOf", "string string", "int", Cost::Scan, last_index_of),
    Row("string_last_index_of_string_int", ".lastIndexOf", "string string int", "int", Cost::Scan, last_index_of),
    Row("string_lower_ascii", ".lowerAscii", "string", "string", Cost::Traverse, |args| Ok(Value::text(Args(args).text(0)?.to_ascii_lowercase()))),
    Row("string_upper_ascii", ".upperAscii", "string", "string", Cost::Traverse, |args| Ok(Value::text(Args(args).text(0)?.to_ascii_uppercase()))),
    Row("string_replace_string_string", ".replace", "string string string", "string", Cost::Replace, replace),
    Row("string_replace_string_string_int", ".replace", "string string string int", "string", Cost::Replace, replace),
    Row("string_split_string", ".split", "string string", "list(string)", Cost::Split, split),
    Row("string_split_string_int", ".split", "string string int", "list(string)", Cost::Split, split),
    Row("string_substring_int", ".substring", "string int", "string", Cost::Traverse, substring),
    Row("string_substring_int_int", ".substring", "string int int", "string", Cost::Traverse, substring),
    Row("string_trim", ".trim", "string", "string", Cost::Traverse, |args| Ok(Value::text(Args(args).text(0)?.trim()))),
    Row("list_join", ".join", "list(string)", "string", Cost::Join, join),
    Row("list_join_string", ".join", "list(string) string", "string", Cost::Join, join),
    Row("string_format", ".format", "string list(dyn)", "string", Cost::Format, |args| format_string::format(Args(args).text(0)?, Args(args).list(1)?)),
    Row("strings_quote", "strings.quote", "string", "string", Cost::Quote, quote),
    Row("string_jsonpatch_escapeKey_string", "jsonpatch.escapeKey", "string", "string", Cost::ParseSameSize, escape_key),
];

fn holds<'a>(args: &[Value<'a>], of: fn(&str, &str) -> bool) -> Result<'a> {
    let args = Args(args);
    Ok(Value::Bool(of(args.text(0)?, args.text(1)?)))
}

fn char_at<'a>(args: &[Value<'a>]) -> Result<'a> {
    let args = Args(args);
    let (text, index) = (args.text(0)?, args.int(1)?);
    let place = usize::try_from(index).map_err(|_| out_of_range(index))?;
    match text.chars().nth(place) {
        Some(c) => Ok(Value::text(c.to_string())),
        // Behind the last character there is nothing; further away is an error.
        None if place == characters(text) => Ok(Value::text("")),
        None => Err(out_of_range(index)),
    }
}

fn out_of_range(index: i64) -> EvalError {
    EvalError::data(format!("index out of range: {index}"))
}

/// The byte at which character `index` begins; the end counts as a place.
fn byte_of(text: &str, index: i64) -> std::result::Result<usize, EvalError> {
    let place = usize::try_from(index).map_err(|_| out_of_range(index))?;
    let mut starts = text.char_indices().map(|(byte, _)| byte).chain([text.len()]);
    starts.nth(place).ok_or_else(|| out_of_range(index))
}

fn found<'a>(text: &str, byte: Option<usize>) -> Result<'a> {
    Ok(Value::Int(byte.map_or(-1, |byte| characters(&text[..byte]) as i64)))
}

fn index_of<'a>(args: &[Value<'a>]) -> Result<'a> {
    let with_offset = args.len() == 3;
    let args = Args(args);
    let (text, part) = (args.text(0)?, args.text(1)?);
    let from = if with_offset { args.int(2)? } else { 0 };
    let start = byte_of(text, from)?;
    found(text, text[start..].find(part).map(|byte| start + byte))
}

fn last_index_of<'a>(args: &[Value<'a>]) -> Result<'a> {
    let with_offset = args.len() == 3;
    let args = Args(args);
    let (text, part) = (args.text(0)?, args.text(1)?);
    if !with_offset {
        return found(text, text.rfind(part));
    }
    // The offset is the last place at which the part may begin.
    let last = byte_of(text, args.int(2)?)?;
    let end = (last + part.len()).min(text.len());
    found(
        text,
        text.as_bytes()[..end]
            .windows(part.len().max(1))
            .rposition(|window| window == part.as_bytes())
            .or_else(|| part.is_empty().then_some(last)),
    )
}

fn replace<'a>(args: &[Value<'a>]) -> Result<'a> {
    let limited = args.len() == 4;
    let args = Args(args);
    let (text, from, to) = (args.text(0)?, args.text(1)?, args.text(2)?);
    let limit = if limited { usize::try_from(args.int(3)?).unwrap_or(usize::MAX) } else { usize::MAX };
    let times = text.matches(from).count().min(limit);
    if text.len().saturating_add(times.saturating_mul(to.len())) > MAX_RESULT {
        return Err(too_long());
    }
    Ok(Value::text(text.replacen(from, to, limit)))
}

fn split<'a>(args: &[Value<'a>]) -> Result<'a> {
    let limited = args.len() == 3;
    let args = Args(args);
    let (text, separator) = (args.text(0)?, args.text(1)?);
    let limit = if limited { args.int(2)? } else { -1 };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let parts: Vec<_> = match (separator, limit) {
        (_, 0) => Vec::new(),
        ("", limit) => split_characters(text, limit),
        (separator, limit) => text.splitn(limit, separator).map(Value::text).collect(),
    };
    Ok(Value::list(parts))
}

fn split_characters<'a>(text: &str, limit: usize) -> Vec<Value<'a>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if parts.len() + 1 >= limit {
            parts.push(Value::text(rest));
            break;
        }
        let (one, after) = rest.split_at(c.len_utf8());
        parts.push(Value::text(one));
        rest = after;
    }
    parts
}

fn substring<'a>(args: &[Value<'a>]) -> Result<'a> {
    let with_end = args.len() == 3;
    let args = Args(args);
    let (text, from) = (args.text(0)?, args.int(1)?);
    let start = byte_of(text, from)?;
    let end = if with_end { byte_of(text, args.int(2)?)? } else { text.len() };
    if start > end {
        return Err(EvalError::data(format!(
            "invalid substring range. start: {from}, end: {}",
            args.int(2)?
        )));
    }
    Ok(Value::text(&text[start..end]))
}

fn join<'a>(args: &[Value<'a>]) -> Result<'a> {
    let separated = args.len() == 2;
    let args = Args(args);
    let separator = if separated { args.text(1)? } else { "" };
    let mut joined = String::new();
    for (index, item) in args.list(0)?.iter().enumerate() {
        let Value::String(item) = item else { return Err(EvalError::NoSuchOverload) };
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&item);
        if joined.len() > MAX_RESULT {
            return Err(too_long());
        }
    }
    Ok(Value::text(joined))
}

fn quote<'a>(args: &[Value<'a>]) -> Result<'a> {
    let mut quoted = String::from("\"");
    for c in Args(args).text(0)?.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(Value::text(quoted))
}

/// RFC 6901, section 3.
fn escape_key<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::text(Args(args).text(0)?.replace('~', "~0").replace('/', "~1")))
}
