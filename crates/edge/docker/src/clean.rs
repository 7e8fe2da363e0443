//! Paths as Go's router takes them: another spelling of a path is sent to the path itself.

use crate::error::message;
use crate::hijack::LongQuery;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, Uri, header};

/// Where a request for this is sent, if it is spelled otherwise.
pub(crate) fn elsewhere(uri: &Uri, long: Option<&LongQuery>) -> Option<Response> {
    // `OPTIONS *` and `CONNECT` have no path.
    let asked = decoded(uri.path()).filter(|path| path.starts_with(b"/"))?;
    let clean = clean(&asked);
    if clean == asked {
        return None;
    }
    let query = long
        .map(|long| &*long.0)
        .or_else(|| uri.query())
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let place = HeaderValue::try_from(encoded(&clean) + &query);
    Some(match place {
        Ok(place) => (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, place)]).into_response(),
        Err(error) => message(StatusCode::BAD_REQUEST, &error.to_string()),
    })
}

/// Without empty parts and dots; a slash at the end stays.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut clean: Vec<u8> = parts.iter().flat_map(|part| [b"/", *part].concat()).collect();
    if clean.is_empty() || path.ends_with(b"/") {
        clean.push(b'/');
    }
    clean
}

/// `None` for what is no percent encoding: the router refuses that.
pub(crate) fn decoded(path: &str) -> Option<Vec<u8>> {
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

/// A part of a query, as Go's `url.QueryEscape` writes it.
pub(crate) fn escaped(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b' ' => text.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn encoded(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => text.push(char::from(*byte)),
            byte if b"/-_.~$&+,:;=@".contains(byte) => text.push(char::from(*byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_another_spelling_is_sent_to_the_clean_one() {
        let sent = |path: &str| {
            let response = elsewhere(&path.parse().unwrap(), None)?;
            assert_eq!(response.status(), StatusCode::MOVED_PERMANENTLY);
            Some(response.headers()[header::LOCATION].to_str().unwrap().to_owned())
        };
        for (path, place) in [
            ("//v1.41/_ping", "/v1.41/_ping"),
            ("/v1.41//containers/json?all=1&x=//", "/v1.41/containers/json?all=1&x=//"),
            ("/v1.41/../_ping", "/_ping"),
            ("/./_ping", "/_ping"),
            ("/containers/..%2Fx/json", "/x/json"),
            ("/../../%C3%A9 //".replace(' ', "%20").as_str(), "/%C3%A9%20/"),
        ] {
            assert_eq!(sent(path).as_deref(), Some(place), "{path}");
        }
        for path in
            ["*", "/", "/_ping", "/_ping/", "/images/a%2Fb/json", "/containers/a..b/json?path=/../x", "/%"]
        {
            assert_eq!(sent(path), None, "{path}");
        }
    }
}
