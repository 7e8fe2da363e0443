//! The headers that pass through.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::place::{Place, Security};
use crate::http::Request;

/// Of one connection alone (RFC 9110, 7.6.1).
static OF_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// What says who the sender is, and to whom it must not be told.
const OF_SENDER: &[&str] = &["authorization", "impersonate-", "x-remote-"];

/// The headers of a request as they go on.
pub(super) fn onward(
    request: &Request,
    place: &Place,
    prefix: &str,
    is_upgrade: bool,
    headers: &mut HeaderMap,
) {
    passed(request, is_upgrade, headers);
    let host = request.headers.get(header::HOST).cloned();
    let texts = [
        ("host", place.address.to_string()),
        ("x-forwarded-uri", request.path.clone()),
        ("x-forwarded-prefix", prefix.to_owned()),
        ("x-forwarded-proto", "https".to_owned()),
    ];
    for (name, text) in texts {
        if let Ok(value) = text.parse() {
            headers.insert(name, value);
        }
    }
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host);
    }
}

/// The headers of a request without those of its connection and those that say who the sender is.
pub(crate) fn passed(request: &Request, is_upgrade: bool, headers: &mut HeaderMap) {
    let named = listed(&request.headers);
    for (name, value) in &request.headers {
        let is_of_sender = OF_SENDER.iter().any(|start| name.as_str().starts_with(start));
        if !is_of_sender && !OF_CONNECTION.contains(name) && !named.contains(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    if is_upgrade && let Some(protocol) = request.headers.get(header::UPGRADE) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
}

/// Takes off an answer what is of its connection.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in listed(headers).iter().chain(&OF_CONNECTION) {
        headers.remove(name);
    }
}

/// The headers of an answer as they come back: a place on the same server is one below the proxy.
pub(super) fn back(headers: &mut HeaderMap, place: &Place, prefix: &str) {
    strip(headers);
    let Some(location) = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()) else { return };
    let scheme = if place.security == Security::Plain { "http" } else { "https" };
    let own = format!("{scheme}://{}", place.address);
    let path = match location.strip_prefix(&own) {
        Some("") => "/",
        Some(path) => path,
        None => location,
    };
    if path.starts_with('/')
        && !path.starts_with("//")
        && let Ok(location) = format!("{prefix}{path}").parse()
    {
        headers.insert(header::LOCATION, location);
    }
}

/// Those that `Connection` says are of the connection, too.
fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back_from(location: &str) -> String {
        let place = Place { address: "10.1.2.3:80".parse().unwrap(), security: Security::Plain };
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, location.parse().unwrap());
        headers.insert(header::CONNECTION, "x-own".parse().unwrap());
        headers.insert("x-own", HeaderValue::from_static("1"));
        back(&mut headers, &place, "/p/proxy");
        assert_eq!(headers.len(), 1, "nothing of the connection");
        headers[header::LOCATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn places_on_the_same_server_are_below_the_proxy() {
        assert_eq!(back_from("/login?x=1"), "/p/proxy/login?x=1");
        assert_eq!(back_from("http://10.1.2.3:80"), "/p/proxy/");
        assert_eq!(back_from("http://10.1.2.3:80/a"), "/p/proxy/a");
        for other in ["https://example.com/a", "//example.com/a", "beside"] {
            assert_eq!(back_from(other), other);
        }
    }
}
