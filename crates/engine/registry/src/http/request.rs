//! Reading requests: query, headers, bodies.

use super::Request;
use crate::error::RegistryError;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http::HeaderMap;
use http::header::HeaderName;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::borrow::Cow;
use std::time::Duration;

/// How long a client may send nothing.
const IDLE: Duration = Duration::from_secs(60);
/// How long it may take to send what is held in memory.
const WHOLE: Duration = Duration::from_secs(120);

/// The value of a query's parameter, decoded; the first one counts.
pub(super) fn query(request: &Request, name: &str) -> Result<Option<String>, RegistryError> {
    Ok(query_all(request, name)?.into_iter().next())
}

/// All values of a query's parameter, decoded.
pub(super) fn query_all(request: &Request, name: &str) -> Result<Vec<String>, RegistryError> {
    parameters(request.uri().query().unwrap_or_default(), name)
}

/// The values of a parameter of a form or query.
pub(crate) fn parameters(text: &str, name: &str) -> Result<Vec<String>, RegistryError> {
    let bad =
        || RegistryError::Request { what: "the query", problem: "it is not percent-encoded UTF-8".into() };
    let mut values = Vec::new();
    for pair in text.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key).ok_or_else(bad)? == name {
            values.push(decode(value).ok_or_else(bad)?);
        }
    }
    Ok(values)
}

/// Percent-decoding with `+` for a space, as forms have it.
fn decode(text: &str) -> Option<String> {
    unescape(&text.replace('+', " ")).map(Cow::into_owned)
}

/// Percent-decoding, RFC 3986, section 2.1; `None` if it is none, or no UTF-8.
pub(super) fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::from)
}

/// Percent-encoding of all that has a meaning somewhere in a query.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// A header's text, if it is there and is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A body as its chunks; a client that sends nothing for a while is cut off.
pub(super) fn stream(body: Incoming) -> impl Stream<Item = Result<Bytes, RegistryError>> + Send + Unpin {
    let next = |mut body: Incoming| async move {
        loop {
            let frame = match tokio::time::timeout(IDLE, body.frame()).await {
                Ok(None) => return None,
                Ok(Some(frame)) => frame.map_err(|error| error.to_string()),
                Err(_) => Err(format!("nothing came for {IDLE:?}")),
            };
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(bytes)) => return Some((Ok(bytes), body)),
                // Trailers.
                Ok(Err(_)) => {}
                Err(problem) => {
                    tracing::debug!(problem, "a request's body was cut");
                    return Some((Err(RegistryError::BodyCut), body));
                }
            }
        }
    };
    futures::stream::unfold(body, next).boxed()
}

/// A body of at most `limit` bytes, whole. Who needs longer for it than [`WHOLE`] is cut off.
pub(super) async fn bytes(body: Incoming, limit: usize, what: &'static str) -> Result<Bytes, RegistryError> {
    let read = async {
        let (mut body, mut all) = (stream(body), BytesMut::new());
        while let Some(piece) = body.next().await {
            let piece = piece?;
            if all.len() + piece.len() > limit {
                return Err(RegistryError::TooLarge { what, limit: limit as u64 });
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    };
    tokio::time::timeout(WHOLE, read).await.unwrap_or(Err(RegistryError::BodyCut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let values = parameters("a=1&scope=repository%3Aa%2Fb%3Apull+push&scope=x", "scope").unwrap();
        assert_eq!(values, ["repository:a/b:pull push", "x"]);
        assert!(parameters("a=%zz", "a").is_err());
        assert!(parameters("a=%ff", "a").is_err());
        assert!(parameters("a=%f", "a").is_err());
    }

    #[test]
    fn what_is_encoded_is_decoded_to_itself() {
        for text in ["application/vnd.x+json; a=\"b\"", "100 % ü", ""] {
            assert_eq!(parameters(&format!("a={}", encode(text)), "a").unwrap(), [text]);
        }
    }
}
