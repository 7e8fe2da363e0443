//! URLs (Kubernetes' URL library): absolute, or a path from the root, read as Go's `net/url` reads a request's.

use super::{Args, Result};
use crate::opaque::{Opaque, Url};
use crate::overload::{Cost, Row};
use crate::value::{Key, Map, Text};
use crate::{EvalError, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("string_to_url", "url", "string", "kubernetes.URL", Cost::ParseSameSize, |args| Ok(Value::Opaque(Opaque::Url(Arc::new(parse(Args(args).text(0)?)?))))),
    Row("is_url_string", "isURL", "string", "bool", Cost::One, |args| Ok(Value::Bool(is_valid(Args(args).text(0)?)))),
    Row("url_get_scheme", ".getScheme", "kubernetes.URL", "string", Cost::One, |args| part(args, |url| url.scheme.clone())),
    Row("url_get_host", ".getHost", "kubernetes.URL", "string", Cost::One, |args| part(args, |url| url.host.clone())),
    Row("url_get_hostname", ".getHostname", "kubernetes.URL", "string", Cost::One, |args| part(args, |url| split_port(&url.host).0.to_owned())),
    Row("url_get_port", ".getPort", "kubernetes.URL", "string", Cost::One, |args| part(args, |url| split_port(&url.host).1.to_owned())),
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
    parts(text, true).is_ok()
}

fn parse(text: &str) -> std::result::Result<Url, EvalError> {
    let wrong = |why| {
        EvalError::data(format!("URL parse error during conversion from string: parse {text:?}: {why}"))
    };
    parts(text, true).map_err(wrong)?;
    // A request has no fragment; what it takes for one's path or query is read again without.
    let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
    unescape(fragment, Part::Fragment).map_err(wrong)?;
    let parts = parts(before, false).map_err(wrong)?;
    Ok(Url {
        text: text.to_owned(),
        scheme: parts.scheme,
        host: parts.host,
        path: parts.path,
        query: pairs(parts.query),
    })
}

type Fault = &'static str;

#[derive(Default)]
struct Parts<'t> {
    scheme: String,
    host: String,
    path: String,
    query: &'t str,
}

/// The parts of an absolute URL or path; of a request no path may name a host without a scheme.
fn parts(text: &str, is_request: bool) -> std::result::Result<Parts<'_>, Fault> {
    if text.contains(|c: char| c.is_ascii_control()) {
        return Err("net/url: invalid control character in URL");
    }
    if text.is_empty() {
        return Err("empty url");
    }
    if text == "*" {
        return Ok(Parts { path: text.to_owned(), ..Parts::default() });
    }
    let (scheme, rest) = scheme(text)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut found = Parts { scheme: scheme.to_ascii_lowercase(), query, ..Parts::default() };
    if !rest.starts_with('/') {
        // What follows the scheme is opaque, as in `mailto:a@b`.
        return if scheme.is_empty() { Err("invalid URI for request") } else { Ok(found) };
    }
    let names_host = !scheme.is_empty() || (!is_request && !rest.starts_with("///"));
    let path = match rest.strip_prefix("//").filter(|_| names_host) {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            found.host = authority_host(authority)?;
            path
        }
        None => rest,
    };
    let decoded = unescape(path, Part::Path)?;
    found.path = if is_escaped(path) { path.to_owned() } else { escape(&decoded) };
    Ok(found)
}

/// Scheme, empty where there is none, and what follows it.
fn scheme(text: &str) -> std::result::Result<(&str, &str), Fault> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    match text.split_once(':') {
        Some(("", _)) => Err("missing protocol scheme"),
        Some((scheme, rest))
            if scheme.chars().all(legal) && scheme.starts_with(|c: char| c.is_ascii_alphabetic()) =>
        {
            Ok((scheme, rest))
        }
        _ => Ok(("", text)),
    }
}

/// The host of `user:password@host:port`, with its port.
fn authority_host(authority: &str) -> std::result::Result<String, Fault> {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !user.chars().all(legal) {
        return Err("net/url: invalid userinfo");
    }
    unescape(user, Part::User)?;
    let lossy = |text, part| Ok(String::from_utf8_lossy(&unescape(text, part)?).into_owned());
    let Some(rest) = host.strip_prefix('[') else {
        let port = host.find(':').map_or("", |at| &host[at..]);
        return if is_port(port) { lossy(host, Part::Host) } else { Err("invalid port after host") };
    };
    let (address, port) = rest.rsplit_once(']').ok_or("missing ']' in host")?;
    if !is_port(port) {
        return Err("invalid port after host");
    }
    let (address, zone) = address.split_at(address.find("%25").unwrap_or(address.len()));
    if address.parse::<std::net::Ipv6Addr>().is_err() {
        return Err("invalid host: not an IPv6 address in brackets");
    }
    Ok(format!("[{address}{}]{port}", lossy(zone, Part::Zone)?))
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.chars().all(|c| c.is_ascii_digit()))
}

/// The host without brackets, and the port.
fn split_port(host: &str) -> (&str, &str) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    };
    (name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name), port)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    User,
    Host,
    Zone,
    Path,
    Query,
    Fragment,
}

const UNRESERVED: &[u8] = b"-_.~";

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte) || b"!$&'()*+,;=:[]<>\"".contains(&byte)
}

/// The octets that a part stands for.
fn unescape(text: &str, part: Part) -> std::result::Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let byte = match (*first, part) {
            (b'%', _) => {
                let [high, low, after @ ..] = rest else { return Err("invalid URL escape") };
                let byte = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
                let byte = byte.ok_or("invalid URL escape")?;
                let is_legal = match part {
                    Part::Host => byte >= 0x80 || byte == b'%',
                    Part::Zone => byte == b'%' || byte == b' ' || is_host_byte(byte),
                    _ => true,
                };
                if !is_legal {
                    return Err("invalid URL escape in host");
                }
                rest = after;
                byte
            }
            (b'+', Part::Query) => b' ',
            (byte, Part::Host | Part::Zone) if byte.is_ascii() && !is_host_byte(byte) => {
                return Err("invalid character in host name");
            }
            (byte, _) => byte,
        };
        bytes.push(byte);
    }
    Ok(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte) || b"$&+,/:;=@".contains(&byte)
}

/// Whether a path is written in a valid way, if not in the usual one.
fn is_escaped(path: &str) -> bool {
    path.bytes().all(|byte| is_path_byte(byte) || b"!'()*[]%".contains(&byte))
}

fn escape(path: &[u8]) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path {
        if is_path_byte(*byte) {
            escaped.push(char::from(*byte));
        } else {
            escaped.extend(['%', nibble(byte >> 4), nibble(byte & 15)]);
        }
    }
    escaped
}

fn nibble(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or_default().to_ascii_uppercase()
}

/// Names with their values; what is malformed is left out.
fn pairs(query: &str) -> Vec<(String, Vec<String>)> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Ok(key), Ok(value)) = (unescape(key, Part::Query), unescape(value, Part::Query)) else {
            continue;
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        found.entry(text(key)).or_default().push(text(value));
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_go_reads_those_of_requests() {
        for (text, expected) in TABLE {
            let found = parse(text).ok().map(|url| {
                let (hostname, port) = split_port(&url.host);
                let query: String = url
                    .query
                    .iter()
                    .flat_map(|(key, values)| values.iter().map(move |value| format!("[{key}={value}]")))
                    .collect();
                [&url.scheme, &url.host, hostname, port, &url.path, &query].map(str::to_owned)
            });
            assert_eq!(found, expected.map(|parts| parts.map(str::to_owned)), "{text:?}");
            let is_read_without_fragment = *text == "/a?q#b%zz";
            assert_eq!(is_valid(text), expected.is_some() || is_read_without_fragment, "{text:?}");
        }
        for text in ["http://[x]/", "http://::1/"] {
            assert!(!is_valid(text), "{text}");
        }
    }

    /// Scheme, host, its name and port, escaped path, and query, as Go prints them.
    #[rustfmt::skip]
    const TABLE: &[(&str, Option<[&str; 6]>)] = &[
        ("https://example.com/path with spaces/", Some(["https", "example.com", "example.com", "", "/path%20with%20spaces/", ""])),
        ("https://example.com/path?key with spaces=value with spaces", Some(["https", "example.com", "example.com", "", "/path", "[key with spaces=value with spaces]"])),
        ("/ü", Some(["", "", "", "", "/%C3%BC", ""])),
        ("/path", Some(["", "", "", "", "/path", ""])),
        ("https://user:pass@example.com:80/path?query=val#fragment", Some(["https", "example.com:80", "example.com", "80", "/path", "[query=val]"])),
        ("https://[::1]:80/", Some(["https", "[::1]:80", "::1", "80", "/", ""])),
        ("https://[::1]", Some(["https", "[::1]", "::1", "", "", ""])),
        ("https://a:b:c/", None),
        ("../relative-path", None),
        ("https://example.com", Some(["https", "example.com", "example.com", "", "", ""])),
        ("https://example.com/path?", Some(["https", "example.com", "example.com", "", "/path", ""])),
        ("mailto:a@b", Some(["mailto", "", "", "", "", ""])),
        ("*", Some(["", "", "", "", "*", ""])),
        ("", None),
        ("//host/p", Some(["", "host", "host", "", "/p", ""])),
        ("//host/p#f", Some(["", "host", "host", "", "/p", ""])),
        ("http:x", Some(["http", "", "", "", "", ""])),
        ("http://a b/", None),
        ("http://%41/", None),
        ("http://%C3%BC/", Some(["http", "ü", "ü", "", "/", ""])),
        ("http://a%zz/", None),
        ("/a%zz", None),
        ("/a%2fb", Some(["", "", "", "", "/a%2fb", ""])),
        ("/a%2fb ü", Some(["", "", "", "", "/a/b%20%C3%BC", ""])),
        ("/[x]", Some(["", "", "", "", "/[x]", ""])),
        ("/a\"b<c>", Some(["", "", "", "", "/a%22b%3Cc%3E", ""])),
        ("/a?b?c", Some(["", "", "", "", "/a", "[b?c=]"])),
        ("/a#b%zz", None),
        ("/a?q#b%zz", None),
        ("/a?x=%zz&y=1;2&z=3+4&&w&=v", Some(["", "", "", "", "/a", "[=v][w=][z=3 4]"])),
        ("http://u:p@q@h/", Some(["http", "h", "h", "", "/", ""])),
        ("http://u^@h/", None),
        ("http://h:/p", Some(["http", "h:", "h", "", "/p", ""])),
        ("1http://h", None),
        ("http+x://h", Some(["http+x", "h", "h", "", "", ""])),
        ("ht_tp://h/", None),
        ("/a\nb", None),
        ("/a\u{7f}", None),
        ("http://h?x=1", Some(["http", "h", "h", "", "", "[x=1]"])),
        ("http://h#f", None),
        ("http://[::1", None),
        ("http://[fe80::1%25en0]:8/", Some(["http", "[fe80::1%en0]:8", "fe80::1%en0", "8", "/", ""])),
        ("http://[fe80::1%en0]/", None),
        ("http://exa<mple/", Some(["http", "exa<mple", "exa<mple", "", "/", ""])),
        ("http://exa|mple/", None),
        ("/a|b^c`{}", Some(["", "", "", "", "/a%7Cb%5Ec%60%7B%7D", ""])),
        ("/a;b,c:d@e!$&'()*+=~-_.", Some(["", "", "", "", "/a;b,c:d@e!$&'()*+=~-_.", ""])),
        ("http://ü/", Some(["http", "ü", "ü", "", "/", ""])),
        ("http://h/a?b/c:d", Some(["http", "h", "h", "", "/a", "[b/c:d=]"])),
        ("HTTP://H/", Some(["http", "H", "H", "", "/", ""])),
        ("http://h/%E4%B8", Some(["http", "h", "h", "", "/%E4%B8", ""])),
        ("/x#frag ment?y", Some(["", "", "", "", "/x", ""])),
        (":x", None),
        ("http://", Some(["http", "", "", "", "", ""])),
        ("http:///p", Some(["http", "", "", "", "/p", ""])),
        ("a/b:c", None),
        ("https://example.com:80x/", None),
        ("/p?a=1&a=2&b", Some(["", "", "", "", "/p", "[a=1][a=2][b=]"])),
        ("http://h:80@x/", Some(["http", "x", "x", "", "/", ""])),
        ("http://%20h/", None),
        ("http://h/?a%20b=c%26d", Some(["http", "h", "h", "", "/", "[a b=c&d]"])),
    ];
}
