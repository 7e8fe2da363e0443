//! A bearer token that this authority did not issue as it is, is nobody's.

use std::sync::OnceLock;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

use super::cluster::cluster;

/// A good token of an account.
pub fn good() -> &'static str {
    static GOOD: OnceLock<String> = OnceLock::new();
    GOOD.get_or_init(|| {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}});
        let accounts = "/api/v1/namespaces/default/serviceaccounts";
        let (status, answer) = post(accounts, &account);
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let (_, answer) = post(&format!("{accounts}/robot/token"), &request);
        answer["status"]["token"].as_str().expect("a token").to_owned()
    })
}

fn post(path: &str, body: &Value) -> (StatusCode, Value) {
    let request =
        Request::builder().method("POST").uri(path).header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Bytes::from(body.to_string())).expect("a request");
    let (status, answer) = cluster().ask(&cluster().admin, request);
    (status, serde_json::from_slice(&answer).unwrap_or_default())
}

pub fn run(data: &[u8]) {
    let bearer = [b"Bearer ", data].concat();
    let Ok(value) = header::HeaderValue::from_bytes(&bearer) else { return };
    let request = Request::builder().uri("/apis").header(header::AUTHORIZATION, value);
    let request = request.body(Bytes::new()).expect("a request");
    let (status, _) = cluster().ask(&cluster().stranger, request);
    let is_good = data.trim_ascii() == good().as_bytes();
    // Without a token a stranger is anonymous, and may not ask for this.
    let expected = match (is_good, data.trim_ascii().is_empty()) {
        (true, _) => StatusCode::OK,
        (false, true) => StatusCode::FORBIDDEN,
        (false, false) => StatusCode::UNAUTHORIZED,
    };
    assert_eq!(status, expected, "{}", String::from_utf8_lossy(data));
}
