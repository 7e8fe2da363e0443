//! A registry that serves what the test says, and misbehaves as it says.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use hako_image::remote::RemoteOptions;
use hako_image::transfer::PullOptions;
use hako_image::{Image, ImageStore};
use http::{HeaderMap, Method, StatusCode, header};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

type Rule = Box<dyn Fn(&Seen) -> Option<Response> + Send + Sync>;
type Which = Arc<dyn Fn(&Seen) -> bool + Send + Sync>;

#[derive(Default)]
struct Shared {
    /// Path to media type and bytes.
    files: Mutex<HashMap<String, (String, Bytes)>>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    /// What is answered only after something else was asked.
    order: Mutex<Option<(Which, Which)>>,
    /// What is refused before its body is read.
    refused: Mutex<Option<(Method, u16)>>,
    came: Notify,
}

/// It ends with its runtime.
#[derive(Clone)]
pub struct Fake {
    shared: Arc<Shared>,
    pub host: String,
}

impl Shared {
    async fn turn(&self, request: &Seen) {
        loop {
            let mut came = std::pin::pin!(self.came.notified());
            // From here on nothing is missed.
            came.as_mut().enable();
            let first = match &*self.order.lock() {
                Some((first, last)) if last(request) => first.clone(),
                _ => return,
            };
            if self.seen.lock().iter().any(|seen| first(seen)) {
                return;
            }
            came.await;
        }
    }
}

impl Fake {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let app = axum::Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { shared, host }
    }

    /// Serves an image of a store as `REPOSITORY:1`.
    pub fn serve(&self, store: &ImageStore, image: &Image, repository: &str) {
        let content = store.content();
        let manifest: Bytes = content.read(image.manifest_digest).unwrap().into();
        let kind = hako_oci::media_type::MANIFEST;
        for reference in ["1".to_owned(), image.manifest_digest.to_string()] {
            self.file(&format!("/v2/{repository}/manifests/{reference}"), kind, manifest.clone());
        }
        for digest in image.layers.iter().map(|layer| layer.digest).chain([image.id]) {
            let bytes = std::fs::read(content.path(digest)).unwrap();
            self.file(&format!("/v2/{repository}/blobs/{digest}"), "application/octet-stream", bytes.into());
        }
    }

    pub fn file(&self, path: &str, kind: &str, bytes: Bytes) {
        self.shared.files.lock().insert(path.to_owned(), (kind.to_owned(), bytes));
    }

    /// Answers before files do; the latest rule is asked first.
    pub fn rule(&self, rule: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static) {
        self.shared.rules.lock().insert(0, Box::new(rule));
    }

    /// Answers `last` only once `first` was asked.
    pub fn in_order(
        &self,
        first: impl Fn(&Seen) -> bool + Send + Sync + 'static,
        last: impl Fn(&Seen) -> bool + Send + Sync + 'static,
    ) {
        *self.shared.order.lock() = Some((Arc::new(first), Arc::new(last)));
    }

    /// Answers `method` with `code` before it has read the body.
    pub fn refuse(&self, method: Method, code: u16) {
        *self.shared.refused.lock() = Some((method, code));
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    /// How many requests had a path that contains `part`.
    pub fn count(&self, part: &str) -> usize {
        self.seen().iter().filter(|seen| seen.path.contains(part)).count()
    }

    pub fn name(&self, rest: &str) -> hako_names::ImageRef {
        format!("{}/{rest}", self.host).parse().unwrap()
    }
}

/// Patience for tests.
pub fn hasty() -> RemoteOptions {
    RemoteOptions { backoff: Duration::from_millis(1), ..RemoteOptions::default() }
}

pub fn options() -> PullOptions {
    PullOptions { remote: hasty(), ..PullOptions::default() }
}

pub fn status(code: u16) -> Response {
    Response::builder().status(code).body(Body::empty()).unwrap()
}

/// A proxy in front of `upstream` that breaks every connection after so many bytes of answers; returns its host.
pub async fn cutting(upstream: &str, after: u64) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let upstream = upstream.to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = tokio::net::TcpStream::connect(&upstream).await.unwrap();
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                let asking = tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                });
                let _ = tokio::io::copy(&mut from_server.take(after), &mut to_client).await;
                asking.abort();
            });
        }
    });
    host
}

/// The first byte of a request's range.
pub fn start_of(seen: &Seen) -> Option<usize> {
    let range = seen.headers.get(header::RANGE)?.to_str().unwrap();
    range.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let refused = shared.refused.lock().clone().filter(|(method, _)| method == request.method());
    if let Some((_, code)) = refused {
        return status(code);
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
    let seen = Seen { method: parts.method, path, headers: parts.headers, body };
    shared.seen.lock().push(seen.clone());
    shared.came.notify_waiters();
    shared.turn(&seen).await;
    let ruled = shared.rules.lock().iter().find_map(|rule| rule(&seen));
    ruled.unwrap_or_else(|| file(&shared, &seen))
}

fn file(shared: &Shared, seen: &Seen) -> Response {
    let Some((kind, bytes)) = shared.files.lock().get(&seen.path).cloned() else {
        return status(404);
    };
    let response = Response::builder().header(header::CONTENT_TYPE, kind);
    let response = response.header("docker-content-digest", hako_names::Digest::of(&bytes).to_string());
    match start_of(seen) {
        Some(start) => response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()))
            .body(Body::from(bytes.slice(start..)))
            .unwrap(),
        None => response.body(Body::from(bytes)).unwrap(),
    }
}
