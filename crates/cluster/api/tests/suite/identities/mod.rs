//! Who somebody is by others' word, and what nodes may read.

mod bootstrap_tokens;
mod configuration;
pub mod elsewhere;
mod expressions;
mod front_proxy;
mod impersonation;
mod nodes;
mod oidc;
mod webhooks;

use std::path::PathBuf;

use bytes::Bytes;
use hako_client::{HttpTransport, Tls, Transport as _};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::World;

/// Asks the server who one is; the code, and who it says or the whole answer.
async fn whoami(
    world: &World,
    certificate: Option<(&str, &str)>,
    token: Option<&str>,
    headers: &[(&str, &str)],
) -> (u16, Value) {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (code, answer) = call(world, certificate, token, headers, ("POST", path), Some(body)).await;
    (code, answer.pointer("/status/userInfo").cloned().unwrap_or(answer))
}

async fn call(
    world: &World,
    certificate: Option<(&str, &str)>,
    token: Option<&str>,
    headers: &[(&str, &str)],
    (method, path): (&str, &str),
    body: Option<Value>,
) -> (u16, Value) {
    let identity = certificate.map(|(certificate, key)| (certificate.as_bytes(), key.as_bytes()));
    let tls = Tls::from_pem(world.pki.ca().as_bytes(), identity).unwrap();
    let transport = HttpTransport::new(&world.url, Some(tls), token).unwrap();
    let mut request =
        http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let answer = transport.call(request.body(Bytes::from(body)).unwrap()).await.unwrap();
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
}

/// A file in a directory that has to be kept.
fn file(dir: &tempfile::TempDir, name: &str, content: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// A kubeconfig that names a server and nothing else.
pub fn webhook_config(dir: &tempfile::TempDir, url: &str) -> PathBuf {
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "s", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "s", "user": "u"}}],
    });
    file(dir, "webhook.kubeconfig", &text.to_string())
}
