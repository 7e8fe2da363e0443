//! Requests as they are, and watches line by line.

use std::time::Duration;

use bytes::Bytes;
use hako_client::{Body, Client};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::support::World;

/// The administrator over HTTPS.
pub struct Http(Client);

impl Http {
    pub fn new(world: &World) -> Self {
        Self(world.outside())
    }

    async fn send(&self, method: &str, path: &str, content_type: &str, body: Bytes) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        self.0.send(request.body(body).unwrap()).await.unwrap()
    }

    /// What a GET is answered with in the form that is accepted.
    pub async fn get_as(&self, path: &str, accept: &str) -> http::Response<Body> {
        let request = Request::get(path).header(header::ACCEPT, accept);
        self.0.send(request.body(Bytes::new()).unwrap()).await.unwrap()
    }

    /// What a request is answered with; no body is sent for null.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let response = self.send(method, path, content_type, body).await;
        let code = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::String(text())))
    }

    /// The same, of a request that has to succeed.
    pub async fn ok(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Value {
        let (code, answer) = self.call(method, path, content_type, body).await;
        assert!(code.is_success(), "{method} {path} {content_type} {body}: {code} {answer}");
        answer
    }
}

/// The events of a watch.
pub struct Watch {
    body: Body,
    buffer: Vec<u8>,
}

impl Watch {
    pub async fn open(http: &Http, path: &str) -> Self {
        let response = http.send("GET", path, "", Bytes::new()).await;
        assert!(response.status().is_success(), "{path}: {}", response.status());
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    /// The word and the object of the next event.
    pub async fn next(&mut self) -> (String, Value) {
        let line = tokio::time::timeout(Duration::from_secs(10), self.line()).await.expect("an event");
        let mut event: Value = serde_json::from_slice(&line).unwrap();
        (event["type"].as_str().unwrap().to_owned(), event["object"].take())
    }

    /// Waits for the end, which the server makes.
    pub async fn ends(&mut self) {
        let end = async { while self.body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
        tokio::time::timeout(Duration::from_secs(10), end).await.expect("the watch ends");
    }

    async fn line(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                return self.buffer.drain(..=end).collect();
            }
            let frame = self.body.frame().await.expect("the watch goes on").unwrap();
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }
}
