//! `METHOD PATH?QUERY`, a line with the body's type, and the body. Whatever is asked, the server answers, and a refusal is a
//! `Status` that has the answer's code. What would write is a dry run.

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use serde_json::Value;

use super::cluster::cluster;

pub fn run(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (first, content_type, body) = (part(), part(), part());
    let Some(request) = request(first, content_type, body) else { return };
    let about = String::from_utf8_lossy(data).into_owned();
    let (status, answer) = cluster().ask(&cluster().admin, request);
    // Upstream's answers to a configuration that does not fit its kind, and to who gets or watches from a version that is no
    // number.
    let of_upstream =
        ["\"failed to create typed patch object (", "\"message\":\"resourceVersion: Invalid value: "];
    let text = String::from_utf8_lossy(&answer);
    let is_known = of_upstream.iter().any(|begin| text.contains(begin));
    assert!(status != StatusCode::INTERNAL_SERVER_ERROR || is_known, "{about}: {answer:?}");
    if (status.is_client_error() || status.is_server_error()) && !answer.is_empty() {
        let failure: Value = serde_json::from_slice(&answer).expect("a refusal is JSON");
        assert_eq!(
            (&failure["kind"], &failure["code"]),
            (&"Status".into(), &status.as_u16().into()),
            "{about}: {failure}"
        );
    }
}

fn request(first: &[u8], content_type: &[u8], body: &[u8]) -> Option<Request<Bytes>> {
    let (method, target) = std::str::from_utf8(first).ok()?.split_once(' ')?;
    let method = method.parse::<Method>().ok()?;
    let dry = match method {
        Method::GET | Method::HEAD => "",
        _ if target.contains('?') => "&dryRun=All",
        _ => "?dryRun=All",
    };
    let uri: Uri = format!("{target}{dry}").parse().ok()?;
    // A client of ours sends no other form of target.
    if uri.authority().is_some() || !uri.path().starts_with('/') || method == Method::CONNECT {
        return None;
    }
    let content_type = header::HeaderValue::from_bytes(content_type).ok()?;
    let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, content_type);
    request.body(Bytes::copy_from_slice(body)).ok()
}
