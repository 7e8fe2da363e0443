//! In whose name a request is handed on: the headers of `--requestheader-*`, which whoever trusts our certificate
//! believes.

use hako_names::percent;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::auth::Identity;
use crate::http::Request;
use crate::proxy;

/// The headers of a request as they go on: none of the client's own about who it is, and ours instead.
pub(super) fn onward(request: &Request, is_upgrade: bool, headers: &mut HeaderMap) {
    proxy::passed(request, is_upgrade, headers);
    let host = headers.remove(header::HOST);
    set_identity(&request.identity, headers);
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host);
    }
    if let Ok(path) = HeaderValue::from_str(&request.path) {
        headers.insert("x-forwarded-uri", path);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    if let Some(peer) = request.peer
        && let Ok(peer) = HeaderValue::from_str(&peer.to_string())
    {
        headers.append("x-forwarded-for", peer);
    }
}

/// Says who somebody is. What is no value of a header is left out: nobody is taken for somebody else by that, since the
/// user itself always is said, in the worst case as nobody in particular.
pub(super) fn set_identity(identity: &Identity, headers: &mut HeaderMap) {
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).ok();
    let anonymous = HeaderValue::from_static("system:anonymous");
    headers.insert("x-remote-user", value(&identity.user).unwrap_or(anonymous));
    if !identity.uid.is_empty()
        && let Some(uid) = value(&identity.uid)
    {
        headers.insert("x-remote-uid", uid);
    }
    for group in identity.groups.iter().filter_map(|group| value(group)) {
        headers.append("x-remote-group", group);
    }
    for (key, values) in &identity.extra {
        let mut name = "x-remote-extra-".to_owned();
        percent::encode_into(&mut name, key);
        let Ok(name) = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()) else { continue };
        for value in values.iter().filter_map(|text| value(text)) {
            headers.append(name.clone(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_said_with_all_it_has() {
        let mut identity = Identity::new("jane", &["a", "b"]);
        identity.uid = "7".to_owned();
        identity.extra.insert("example.org/key".to_owned(), vec!["x".to_owned(), "y".to_owned()]);
        let mut headers = HeaderMap::new();
        set_identity(&identity, &mut headers);
        let all = |name: &str| -> Vec<&str> {
            headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
        };
        assert_eq!(all("x-remote-user"), ["jane"]);
        assert_eq!(all("x-remote-uid"), ["7"]);
        assert_eq!(all("x-remote-group"), ["a", "b"]);
        assert_eq!(all("x-remote-extra-example.org%2fkey"), ["x", "y"]);
    }
}
