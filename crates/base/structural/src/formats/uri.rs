//! Addresses of resources, as Go's `url.ParseRequestURI` takes them: absolute, or an absolute path.

pub(super) fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return false;
    }
    if text == "*" {
        return true;
    }
    let Some((scheme, rest)) = scheme(text) else { return false };
    let rest = rest.split_once('?').map_or(rest, |(path, _)| path);
    if !rest.starts_with('/') {
        // Without a path it is an opaque one.
        return !scheme.is_empty();
    }
    let (authority, path) = match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    is_authority(authority) && is_escaped(path, |_| true)
}

/// The scheme, which may be missing, and what follows it; none where it is not one.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')));
    match end {
        Some(0) if text.starts_with(':') => None,
        Some(end) if text[end..].starts_with(':') && text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Some((&text[..end], &text[end + 1..]))
        }
        _ => Some(("", text)),
    }
}

fn is_authority(text: &str) -> bool {
    let (user, host) = text.rsplit_once('@').map_or((None, text), |(user, host)| (Some(user), host));
    let is_of_user = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    user.is_none_or(|user| user.chars().all(is_of_user) && is_escaped(user, |_| true)) && is_host(host)
}

fn is_host(text: &str) -> bool {
    if text.starts_with('[') {
        return is_address(text);
    }
    let colon = text.rfind(':').unwrap_or(text.len());
    is_port(&text[colon..]) && is_host_text(text)
}

/// An address in brackets, and its port. A zone may have any octet escaped.
fn is_address(text: &str) -> bool {
    let Some(end) = text.rfind(']') else { return false };
    let (address, port) = (&text[..end], &text[end + 1..]);
    let (address, zone) = address.split_at(address.find("%25").unwrap_or(address.len()));
    is_port(port) && is_host_text(address) && is_escaped(zone, |_| true)
}

fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Only octets beyond ASCII may be escaped in a host.
fn is_host_text(text: &str) -> bool {
    let is_free =
        |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c);
    text.chars().all(is_free) && is_escaped(text, |octet| octet >= 0x80)
}

/// Whether every `%` is followed by two hexadecimal digits, of an octet that may be escaped.
fn is_escaped(text: &str, may_be: impl Fn(u8) -> bool) -> bool {
    text.split('%').skip(1).all(|rest| {
        let octet = rest.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        octet.and_then(|digits| u8::from_str_radix(digits, 16).ok()).is_some_and(&may_be)
    })
}
