//! A client on one HTTP/2 connection, small enough that the server is what is measured.

use crate::role::Role;
use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::StatusCode;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use std::sync::Arc;

pub type Sender = SendRequest<Full<Bytes>>;

/// A connection, and what each request on it says.
#[derive(Clone)]
pub struct Client {
    sender: Sender,
    url: String,
    authorization: String,
}

impl Client {
    pub async fn connect(role: &Role) -> anyhow::Result<Self> {
        let authorization = format!("Bearer {}", role.token);
        Ok(Self { sender: connect(role).await?, url: role.url.clone(), authorization })
    }

    /// Asks, and reads all of the answer.
    pub async fn call(&mut self, ask: &Ask<'_>) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = hyper::Request::builder()
            .method(ask.method)
            .uri(format!("{}{}", self.url, ask.path))
            .header("authorization", &self.authorization);
        if !ask.body.is_empty() {
            request = request.header("content-type", ask.content_type);
        }
        if !ask.accept.is_empty() {
            request = request.header("accept", ask.accept);
        }
        let response = self.sender.send_request(request.body(Full::new(ask.body.clone()))?).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// The same, where anything but success is a fault of the bench.
    pub async fn ok(&mut self, ask: &Ask<'_>) -> anyhow::Result<Bytes> {
        let (status, body) = self.call(ask).await?;
        let text = || String::from_utf8_lossy(&body).into_owned();
        anyhow::ensure!(status.is_success(), "{} {}: {status}: {}", ask.method, ask.path, text());
        Ok(body)
    }

    pub async fn get_json(&mut self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.ok(&Ask::get(path)).await?)?)
    }
}

/// What is asked.
#[derive(Clone)]
pub struct Ask<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub content_type: &'a str,
    pub accept: &'a str,
    pub body: Bytes,
}

impl<'a> Ask<'a> {
    pub fn get(path: &'a str) -> Self {
        Self { method: "GET", path, content_type: "", accept: "", body: Bytes::new() }
    }

    pub fn json(method: &'a str, path: &'a str, body: Bytes) -> Self {
        let content_type = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        Self { method, path, content_type, accept: "", body }
    }
}

/// A connection alone.
pub async fn connect(role: &Role) -> anyhow::Result<Sender> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(role.authority.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = role.url.strip_prefix("https://").context("the role serves HTTPS")?;
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("127.0.0.1")?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
