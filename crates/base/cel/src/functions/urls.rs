//! URLs (Kubernetes' URL library): absolute, or a path from the root.

use super::{Args, Result};
use crate::opaque::{Opaque, Url};
use crate::overload::{Cost, Row};
use crate::value::{Key, Map, Text};
use crate::{EvalError, Value};
use hako_names::percent;
use std::collections::BTreeMap;
use std::sync::Arc;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("string_to_url", "url", "string", "kubernetes.URL", Cost::ParseSameSize, |args| Ok(Value::Opaque(Opaque::Url(Arc::new(parse(Args(args).text(0)?)?))))),
    Row("is_url_string", "isURL", "string", "bool", Cost::One, |args| Ok(Value::Bool(parse(Args(args).text(0)?).is_ok()))),
    Row("url_get_scheme", ".getScheme", "kubernetes.URL", "string", Cost::One, |args| part(args, |url| url.scheme.clone())),
    Row("url_get_host", ".getHost", "kubernetes.URL", "string", Cost::One, |args| part(args, host_and_port)),
    Row("url_get_hostname", ".getHostname", "kubernetes.URL", "string", Cost::One, |args| part(args, |url| url.host.clone())),
    Row("url_get_port", ".getPort", "kubernetes.URL", "string", Cost::One, |args| part(args, |url| url.port.clone())),
    Row("url_get_escaped_path", ".getEscapedPath", "kubernetes.URL", "string", Cost::One, |args| part(args, |url| url.path.clone())),
    Row("url_get_query", ".getQuery", "kubernetes.URL", "map(string,list(string))", Cost::One, query),
];

fn url<'v>(args: &'v [Value<'_>]) -> std::result::Result<&'v Url, EvalError> {
    match args.first() {
        Some(Value::Opaque(Opaque::Url(url))) => Ok(url),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn part<'a>(args: &[Value<'a>], of: fn(&Url) -> String) -> Result<'a> {
    Ok(Value::text(of(url(args)?)))
}

fn host_and_port(url: &Url) -> String {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    if url.port.is_empty() { host } else { format!("{host}:{}", url.port) }
}

fn query<'a>(args: &[Value<'a>]) -> Result<'a> {
    let entries: BTreeMap<_, _> = url(args)?
        .query
        .iter()
        .map(|(key, values)| {
            let values = values.iter().map(|value| Value::text(value.as_str())).collect();
            (Key::String(Text::Shared(key.as_str().into())), Value::list(values))
        })
        .collect();
    Ok(Value::Map(Map::Shared(Arc::new(entries))))
}

/// Whether `text` is a URL that the library reads.
pub(super) fn is_valid(text: &str) -> bool {
    parse(text).is_ok()
}

fn parse(text: &str) -> std::result::Result<Url, EvalError> {
    let wrong = || {
        EvalError::data(format!(
            "URL parse error during conversion from string: parse {text:?}: invalid URI for request"
        ))
    };
    if text.contains(|c: char| c.is_ascii_control() || c == ' ') || !escapes_are_whole(text) {
        return Err(wrong());
    }
    let without_fragment = text.split('#').next().unwrap_or(text);
    let (before, query) = without_fragment.split_once('?').unwrap_or((without_fragment, ""));
    let (scheme, authority, path) = if before.starts_with('/') {
        (String::new(), "", before)
    } else {
        absolute(before).ok_or_else(wrong)?
    };
    let (host, port) = host(authority).ok_or_else(wrong)?;
    Ok(Url { text: text.to_owned(), scheme, host, port, path: path.to_owned(), query: pairs(query) })
}

/// Scheme, authority and path of `scheme://authority/path`.
fn absolute(text: &str) -> Option<(String, &str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let rest = rest.strip_prefix("//")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(legal) {
        return None;
    }
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    Some((scheme.to_ascii_lowercase(), authority, path))
}

fn host(authority: &str) -> Option<(String, String)> {
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, if after.is_empty() { "" } else { after.strip_prefix(':')? })
        }
        None => address.split_once(':').unwrap_or((address, "")),
    };
    port.chars().all(|c| c.is_ascii_digit()).then(|| (host.to_owned(), port.to_owned()))
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes();
        digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit)
    })
}

fn pairs(query: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for (key, value) in percent::query_pairs(query) {
        match found.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(value),
            None => found.push((key, vec![value])),
        }
    }
    found
}
