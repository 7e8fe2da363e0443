//! A webhook: a small HTTPS server that answers reviews, well or badly.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::tls::acceptor;

/// What a webhook does with a review.
pub enum Reply {
    /// Answers with this `response`, to which the identity of the request is put.
    Response(Value),
    /// Answers with these bytes after the head.
    Raw(String, Vec<u8>),
    /// Lets wait for ever.
    Never,
    /// Ends the connection.
    Close,
    /// Answers with this `response`, and at once with that one.
    Twice(Value, Value),
}

/// A review, and the path it came to.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub review: Value,
}

type Answer = Arc<dyn Fn(&str, &Value) -> Reply + Send + Sync>;

/// A webhook that runs until the test ends.
pub struct HookServer {
    pub address: SocketAddr,
    /// The authority of its certificate, as registrations have it.
    pub ca: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<Mutex<usize>>,
}

/// Lets everything pass.
pub fn allowed() -> Reply {
    Reply::Response(json!({"allowed": true}))
}

/// Lets it pass, changed.
pub fn patched(patch: &Value) -> Reply {
    let patch = base64::engine::general_purpose::STANDARD.encode(patch.to_string());
    Reply::Response(json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"}))
}

impl HookServer {
    /// At 127.0.0.1.
    pub async fn start(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        Self::named("127.0.0.1", answer).await
    }

    /// With a certificate for a name.
    pub async fn named(name: &str, answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        // As `openssl req -x509` makes them: its own, and an authority's.
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        // Endpoints of services have no loopback addresses.
        let place = if name.ends_with(".svc") { "0.0.0.0:0" } else { "127.0.0.1:0" };
        let listener = TcpListener::bind(place).await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            ca: base64::engine::general_purpose::STANDARD.encode(certificate.pem()),
            asked: Arc::default(),
            connections: Arc::default(),
        };
        let (asked, connections) = (Arc::clone(&server.asked), Arc::clone(&server.connections));
        let acceptor = acceptor(&certificate.pem(), &key.serialize_pem(), None);
        let answer: Answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, asked) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&asked));
                *connections.lock() += 1;
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(BufReader::new(stream), &answer, &asked).await;
                    }
                });
            }
        });
        server
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// The paths that were asked, and then forgotten.
    pub fn take_paths(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock()).into_iter().map(|asked| asked.path).collect()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock()
    }

    /// How a registration names a path of it.
    pub fn client_config(&self, path: &str) -> Value {
        json!({"url": format!("https://{}/{path}", self.address), "caBundle": self.ca})
    }
}

async fn serve(
    mut stream: BufReader<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>,
    answer: &Answer,
    asked: &Mutex<Vec<Asked>>,
) {
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if stream.read_line(&mut first).await.unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let path = first.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        let review: Value = serde_json::from_slice(&body).unwrap();
        asked.lock().push(Asked { path: path.clone(), review: review.clone() });
        let path = path.split('?').next().unwrap_or("").to_owned();
        let reply = answer(&path, &review);
        let mut extra = Vec::new();
        let (head, body) = match reply {
            Reply::Response(response) => ("200 OK".to_owned(), whole(&review, response)),
            Reply::Raw(head, body) => (head, body),
            Reply::Twice(first, second) => {
                let second = whole(&review, second);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", second.len());
                extra = [head.into_bytes(), second].concat();
                ("200 OK".to_owned(), whole(&review, first))
            }
            Reply::Never => std::future::pending().await,
            Reply::Close => return,
        };
        let head = format!(
            "HTTP/1.1 {head}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(&[head.as_bytes(), &body, &extra].concat()).await.is_err()
            || stream.flush().await.is_err()
        {
            return;
        }
    }
}

/// The answer to a review.
fn whole(review: &Value, mut response: Value) -> Vec<u8> {
    if response["uid"].is_null() {
        response["uid"] = review["request"]["uid"].clone();
    }
    let answer = json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response});
    answer.to_string().into_bytes()
}
