//! HTTP/1.1 over the engine's unix socket, one connection a request: a connection costs microseconds here.

use crate::exit::EngineFailed;
use anyhow::Context;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The engine behind a socket.
#[derive(Clone, Debug)]
pub(crate) struct EngineClient {
    socket: PathBuf,
}

/// What a request carries.
pub(crate) enum Payload {
    Empty,
    Json(Value),
    /// A tar archive, streamed while it is made.
    Tar(tokio::sync::mpsc::Receiver<std::io::Result<Bytes>>),
}

impl EngineClient {
    pub(crate) fn new(socket: impl AsRef<Path>) -> Self {
        Self { socket: socket.as_ref().to_owned() }
    }

    /// Sends a request and checks its status; the body is the caller's to read.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        payload: Payload,
    ) -> anyhow::Result<Response<Incoming>> {
        self.send_with(method, path, payload, None).await
    }

    /// The same with credentials for a registry, the content of `X-Registry-Auth`.
    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        payload: Payload,
        credentials: Option<&str>,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = request(method, path, payload, false)?;
        if let Some(credentials) = credentials {
            let mut value = HeaderValue::from_str(credentials).context("send credentials")?;
            value.set_sensitive(true);
            request.headers_mut().insert("x-registry-auth", value);
        }
        check(self.exchange(request).await?).await
    }

    /// A request whose answer is one JSON value.
    pub(crate) async fn json(&self, method: Method, path: &str, payload: Payload) -> anyhow::Result<Value> {
        let body = self
            .send(method, path, payload)
            .await?
            .into_body()
            .collect()
            .await
            .context("read the answer")?
            .to_bytes();
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).with_context(|| format!("{path} did not answer with JSON"))
    }

    /// A request that turns the connection into a stream in both directions.
    pub(crate) async fn hijack(
        &self,
        path: &str,
        payload: Payload,
    ) -> anyhow::Result<TokioIo<hyper::upgrade::Upgraded>> {
        let response = self.exchange(request(Method::POST, path, payload, true)?).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            check(response).await?;
            anyhow::bail!("{path} did not open a stream");
        }
        Ok(TokioIo::new(hyper::upgrade::on(response).await.context("open the stream")?))
    }

    /// The names of all images.
    pub(crate) async fn image_names(&self) -> anyhow::Result<Vec<String>> {
        let list = self.json(Method::GET, "/images/json", Payload::Empty).await?;
        let images = list.as_array().into_iter().flatten();
        let names = images.flat_map(|image| image["RepoTags"].as_array().into_iter().flatten());
        Ok(names.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    async fn exchange(&self, request: Request<Body>) -> anyhow::Result<Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket).await.with_context(|| {
            format!("connect to {}: is the platform running? start it with `hako up`", self.socket.display())
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // What goes wrong on the connection shows in the request that is waiting on it.
            let _ = connection.with_upgrades().await;
        });
        let answer = sender.send_request(request);
        // A connection that ends this very moment, with an engine that is killed, may leave the request where only its
        // sender holds it, and nobody answers.
        drop(sender);
        answer.await.context("talk to the engine")
    }
}

fn request(method: Method, path: &str, payload: Payload, upgrade: bool) -> anyhow::Result<Request<Body>> {
    let mut builder = Request::builder().method(method).uri(path).header(header::HOST, "hako");
    if upgrade {
        builder = builder.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "tcp");
    }
    let full = |bytes: Bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
    let (content_type, body) = match payload {
        Payload::Empty => (None, full(Bytes::new())),
        Payload::Json(value) => (Some("application/json"), full(value.to_string().into())),
        Payload::Tar(mut chunks) => {
            let stream = futures::stream::poll_fn(move |context| {
                chunks.poll_recv(context).map(|next| next.map(|chunk| chunk.map(Frame::data)))
            });
            (Some("application/x-tar"), StreamBody::new(stream).boxed_unsync())
        }
    };
    if let Some(content_type) = content_type {
        builder = builder.header(header::CONTENT_TYPE, content_type);
    }
    builder.body(body).with_context(|| format!("make a request of {path}"))
}

/// Turns an error answer into an error with the engine's own words.
async fn check(response: Response<Incoming>) -> anyhow::Result<Response<Incoming>> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Ok(response);
    }
    let body = response.into_body().collect().await.context("read the engine's error")?.to_bytes();
    let message = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|value| value["message"].as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned());
    Err(EngineFailed(if message.is_empty() { format!("the engine answered {status}") } else { message })
        .into())
}

/// Escapes a value for a query or path.
pub(crate) fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_asks_an_engine_that_goes_at_that_moment_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let engine = tokio::spawn(async move {
            loop {
                drop(listener.accept().await);
            }
        });
        let client = EngineClient::new(&socket);
        for _ in 0..5_000 {
            let asked = client.send(Method::GET, "/_ping", Payload::Empty);
            let answer = tokio::time::timeout(std::time::Duration::from_secs(60), asked).await;
            assert!(answer.expect("nobody answers, and nobody says so").is_err());
        }
        engine.abort();
    }

    #[test]
    fn reserved_characters_are_escaped() {
        assert_eq!(escape("a b/ü"), "a%20b%2F%C3%BC");
    }
}
