//! Webhooks: the Docker registry's notification envelope, delivered in order, tried again until it is taken.

use super::{Happened, Metrics};
use crate::config::{WebhookConfig, http_url};
use crate::http::read_trusted;
use crate::name::Reference;
use bytes::Bytes;
use hako_error::{Error, Kind, Result};
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

const MEDIA_TYPE: &str = "application/vnd.docker.distribution.events.v1+json";
/// Events that wait for a webhook.
const QUEUE: usize = 1000;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// One webhook's front end. Its task ends with it.
#[derive(Debug)]
pub(super) struct Webhook {
    actions: Vec<String>,
    queue: mpsc::Sender<serde_json::Value>,
}

/// Where events go.
struct Endpoint {
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    tls: Option<TlsConnector>,
}

impl Webhook {
    pub(super) fn start(config: &WebhookConfig, metrics: Arc<Metrics>) -> Result<Self> {
        let invalid = |problem: &str| Error::new(Kind::Invalid, format!("webhook {}: {problem}", config.url));
        let uri = http_url(&config.url).map_err(invalid)?;
        let is_tls = uri.scheme_str() == Some("https");
        let tls = is_tls.then(|| connector(config.ca_file.as_deref())).transpose()?;
        let headers =
            config.headers.iter().map(|text| header(text).map_err(invalid)).collect::<Result<_>>()?;
        let endpoint = Endpoint { uri, headers, timeout: config.timeout, tls };
        let (queue, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(deliver_all(endpoint, receiver, config.retries, metrics));
        Ok(Self { actions: config.actions.clone(), queue })
    }

    /// Queues an event, if it is one that succeeded and is wanted.
    pub(super) fn tell(&self, happened: &Happened, metrics: &Metrics) {
        let is_event = happened.route == "manifest" && (200..300).contains(&happened.status);
        let is_event = is_event && happened.method != http::Method::HEAD;
        if !is_event || !self.actions.iter().any(|action| action == happened.action()) {
            return;
        }
        if self.queue.try_send(event(happened)).is_err() {
            metrics.lost("webhook");
        }
    }
}

/// One of a webhook's own headers.
pub(crate) fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| "a header's name is not valid")?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| "a header's value is not valid")?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn event(happened: &Happened) -> serde_json::Value {
    let tag = match &happened.reference {
        Some(Reference::Tag(tag)) => Some(tag.as_str()),
        _ => None,
    };
    let (media_type, size) = happened.target();
    serde_json::json!({
        "id": uuid::Uuid::new_v4().to_string(),
        "timestamp": jiff::Timestamp::now().to_string(),
        "action": happened.action(),
        "target": {
            "mediaType": media_type, "digest": happened.digest, "size": size,
            "length": size, "repository": happened.repository, "tag": tag,
        },
        "request": {
            "id": uuid::Uuid::new_v4().to_string(), "addr": happened.peer.map(|peer| peer.to_string()),
            "host": happened.host, "method": happened.method.as_str(), "useragent": happened.agent,
        },
        "actor": {"name": happened.who.user},
        "source": {},
    })
}

/// Delivers one event after the other; each is given up after `retries` more attempts.
async fn deliver_all(
    endpoint: Endpoint,
    mut queue: mpsc::Receiver<serde_json::Value>,
    retries: u64,
    metrics: Arc<Metrics>,
) {
    while let Some(event) = queue.recv().await {
        let body = Bytes::from(serde_json::json!({"events": [event]}).to_string());
        if !endpoint.deliver(&body, retries).await {
            metrics.lost("webhook");
        }
    }
}

impl Endpoint {
    /// Whether it took the event in the end.
    async fn deliver(&self, body: &Bytes, retries: u64) -> bool {
        let mut pause = FIRST_PAUSE;
        for attempt in 0..=retries {
            let sent = tokio::time::timeout(self.timeout, self.send(body.clone())).await;
            let problem = match sent {
                Ok(Ok(status)) if status.is_success() => return true,
                Ok(Ok(status)) => status.to_string(),
                Ok(Err(error)) => error.chain(),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(host = self.uri.host(), attempt, problem, "a webhook did not take an event");
            if attempt < retries {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        false
    }

    async fn send(&self, body: Bytes) -> Result<http::StatusCode> {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(failed("connect"))?;
        match &self.tls {
            None => self.exchange(stream, body).await,
            Some(tls) => {
                let name = ServerName::try_from(host).map_err(failed("name the server"))?;
                let stream = tls.connect(name, stream).await.map_err(failed("agree on TLS"))?;
                self.exchange(stream, body).await
            }
        }
    }

    async fn exchange<S>(&self, stream: S, body: Bytes) -> Result<http::StatusCode>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(failed("speak"))?;
        let connection = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
        let path = self.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let authority = self.uri.authority().map_or("", http::uri::Authority::as_str);
        let mut request = Request::post(path).header(CONTENT_TYPE, MEDIA_TYPE).header(HOST, authority);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(failed("write a request"))?;
        let response = sender.send_request(request).await.map_err(failed("send"))?;
        let status = response.status();
        // Nothing of the answer is wanted; it ends with the connection.
        let _ = response.into_body().frame().await;
        drop(connection);
        Ok(status)
    }
}

fn failed<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::new(Kind::Unavailable, format!("cannot {what}")).with_source(error)
}

/// TLS that trusts whom the machine trusts, and the certificates of a file.
fn connector(ca_file: Option<&Path>) -> Result<TlsConnector> {
    let trusted = ca_file.map(read_trusted).transpose()?.unwrap_or_default();
    let config = hako_trust::client(hako_trust::machine_and(&trusted)).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
