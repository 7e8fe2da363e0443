//! Calls of webhooks that are registered as objects: by a URL or by a service of this cluster.
//!
//! Owns: the connections, which are kept and shared, whom to trust on them, and what of an answer is read at most.
//! Does not own: what is asked and what an answer means.
//!
//! Invariant: nothing here takes longer than its caller says or holds more than [`ANSWER_BYTES`] of an answer, and no
//! answer sends a call somewhere else: redirects are failures. At one place no more than [`CALLS`] calls are under way: a
//! webhook that asks this server for what it is asked about is called again and again, and each call waits for the next.

mod service;
mod tls;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use hako_client::{HttpTransport, Transport as _};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::server::Inner;
pub(crate) use service::dial;
pub(crate) use tls::trust;

/// Bytes of the longest answer: a patch that is as long as a request may be, in base64, and more.
const ANSWER_BYTES: usize = 8 << 20;
/// Bytes of what a failure says that are shown.
const SHOWN_BYTES: usize = 1024;
/// How many places connections are kept to, as upstream has it.
const PLACES: usize = 200;
/// How many calls are under way at one place; others wait for them, in the time that they have.
const CALLS: usize = 256;

/// Where a webhook is and whom to trust there: the `clientConfig` of its registration.
#[derive(Clone, Debug)]
pub(crate) struct ClientConfig {
    place: Place,
    /// Authorities in PEM; those of the system if empty.
    ca: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Url(String),
    Service { namespace: String, name: String, path: String, port: u16 },
}

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) struct CallError {
    /// In the words that clients see.
    pub why: String,
    /// What the webhook was answered with, if it was not 200.
    pub code: Option<u16>,
}

/// Whom connections go to, and the certificates by which it is known.
type Peer = (String, Vec<u8>);

/// The connections to webhooks.
#[derive(Default)]
pub(crate) struct Clients {
    server: OnceLock<Weak<Inner>>,
    kept: Mutex<HashMap<Peer, Arc<Caller>>>,
}

/// What calls one place.
struct Caller {
    transport: HttpTransport,
    free: Semaphore,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("kept", &self.kept.lock().len()).finish_non_exhaustive()
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl CallError {
    fn new(why: impl fmt::Display) -> Self {
        Self { why: why.to_string(), code: None }
    }
}

impl ClientConfig {
    /// From an object, which was checked when it was written.
    pub(crate) fn read(config: &Value) -> Self {
        let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or("");
        let ca = base64::engine::general_purpose::STANDARD.decode(text("caBundle")).unwrap_or_default();
        let place = match config.get("service").filter(|service| service.is_object()) {
            None => Place::Url(text("url").to_owned()),
            Some(service) => {
                let text = |name: &str| service.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
                let port = service.get("port").and_then(Value::as_u64);
                Place::Service {
                    namespace: text("namespace"),
                    name: text("name"),
                    path: text("path"),
                    port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(443),
                }
            }
        };
        Self { place, ca }
    }

    /// Whether certificates can be read of its bundle, if it has one.
    pub(crate) fn has_readable_bundle(&self) -> bool {
        self.ca.is_empty() || trust(&self.ca).is_ok()
    }

    /// Scheme and authority, and the path.
    fn address(&self) -> (String, String) {
        match &self.place {
            Place::Url(url) => {
                let at = url.find("://").map_or(0, |at| at + 3);
                let end = url[at..].find('/').map_or(url.len(), |end| at + end);
                (url[..end].to_owned(), with_slash(&url[end..]))
            }
            Place::Service { namespace, name, path, port } => {
                (format!("https://{name}.{namespace}.svc:{port}"), with_slash(path))
            }
        }
    }
}

fn with_slash(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

impl Clients {
    /// Says where services are looked up.
    pub(crate) fn begin(&self, server: Weak<Inner>) {
        let _ = self.server.set(server);
    }

    /// Sends JSON and waits for the answer's, no longer than `time`.
    pub(crate) async fn post(
        &self,
        config: &ClientConfig,
        body: Bytes,
        time: Duration,
    ) -> Result<Bytes, CallError> {
        let (origin, path) = config.address();
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let path = format!("{path}?timeout={seconds}s");
        let failed =
            |why: CallError| CallError { why: format!("Post \"{origin}{path}\": {}", why.why), ..why };
        let client = self.client(config, &origin).map_err(failed)?;
        let sent = Request::post(&path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, "kube-apiserver-admission")
            .body(body)
            .map_err(|error| failed(CallError::new(error)))?;
        match tokio::time::timeout(time, exchange(&client, sent)).await {
            Ok(Err(error)) if error.code.is_none() => Err(failed(error)),
            Ok(outcome) => outcome,
            Err(_) => Err(failed(CallError::new("context deadline exceeded"))),
        }
    }

    fn client(&self, config: &ClientConfig, origin: &str) -> Result<Arc<Caller>, CallError> {
        let key = (origin.to_owned(), config.ca.clone());
        if let Some(client) = self.kept.lock().get(&key) {
            return Ok(Arc::clone(client));
        }
        let tls = Some(tls::trusting(&config.ca).map_err(|error| CallError::new(error.chain()))?);
        let client = match &config.place {
            Place::Url(_) => HttpTransport::new(origin, tls, None),
            Place::Service { namespace, name, port, .. } => {
                let server = self.server.get().cloned().unwrap_or_default();
                let dial = service::dial(server, namespace.clone(), name.clone(), *port);
                HttpTransport::dialing(origin, tls, dial)
            }
        };
        let transport = client.map_err(|error| CallError::new(error.chain()))?;
        let client = Arc::new(Caller { transport, free: Semaphore::new(CALLS) });
        Ok(self.keep(key, client))
    }

    /// The one caller of a place: another beside it would have places of its own for as many calls. So who calls stays,
    /// also where that is more than there is room for.
    fn keep(&self, key: Peer, caller: Arc<Caller>) -> Arc<Caller> {
        let mut kept = self.kept.lock();
        if kept.len() >= PLACES && !kept.contains_key(&key) {
            // Others get at a caller under this lock only.
            kept.retain(|_, caller| Arc::strong_count(caller) > 1);
        }
        Arc::clone(kept.entry(key).or_insert(caller))
    }
}

async fn exchange(caller: &Caller, request: Request<Bytes>) -> Result<Bytes, CallError> {
    let _free = caller.free.acquire().await.map_err(CallError::new)?;
    let response =
        caller.transport.call(request).await.map_err(|error| CallError::new(first_cause(&error)))?;
    let code = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| {
        let is_long = error.is::<http_body_util::LengthLimitError>();
        let too_long = format!("the answer is longer than {ANSWER_BYTES} bytes");
        CallError::new(if is_long { too_long } else { format!("the answer broke off: {error}") })
    })?;
    let body = body.to_bytes();
    if code == StatusCode::OK || code == StatusCode::CREATED || code == StatusCode::ACCEPTED {
        return Ok(body);
    }
    Err(CallError { why: refused(code, &body), code: Some(code.as_u16()) })
}

/// What lies at the bottom of an error: `connection refused` rather than who tried what.
pub(crate) fn first_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a code that is no success means, in the words of client-go.
fn refused(code: StatusCode, body: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]);
    let shown = shown.trim();
    match code.as_u16() {
        300..=399 => format!("the webhook answered {code}, and redirects are not followed"),
        404 => "the server could not find the requested resource".to_owned(),
        500.. => {
            let shown = if shown.is_empty() { "unknown" } else { shown };
            format!("an error on the server ({shown:?}) has prevented the request from succeeding")
        }
        _ => format!("the server rejected our request for an unknown reason ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_has_one_caller_as_long_as_anybody_calls_it() {
        let clients = Clients::default();
        let caller = || {
            let transport = HttpTransport::new("http://127.0.0.1:1", None, None).unwrap();
            Arc::new(Caller { transport, free: Semaphore::new(CALLS) })
        };
        let keep = |at: usize| clients.keep((at.to_string(), Vec::new()), caller());
        let calling = keep(0);
        assert!(Arc::ptr_eq(&calling, &keep(0)), "two that come first at once");
        for at in 1..=PLACES {
            keep(at);
        }
        assert!(Arc::ptr_eq(&calling, &keep(0)), "it went although somebody calls");
        assert_eq!(clients.kept.lock().len(), 2);
    }

    #[test]
    fn a_webhook_is_at_a_url_or_at_a_service() {
        let of = |config: Value| ClientConfig::read(&config).address();
        let pair = |origin: &str, path: &str| (origin.to_owned(), path.to_owned());
        assert_eq!(of(json!({"url": "https://a.b:8443/c/d"})), pair("https://a.b:8443", "/c/d"));
        assert_eq!(of(json!({"url": "https://a.b"})), pair("https://a.b", "/"));
        let service = json!({"service": {"namespace": "x", "name": "y", "path": "/z", "port": 8443}});
        assert_eq!(of(service), pair("https://y.x.svc:8443", "/z"));
        assert_eq!(of(json!({"service": {"namespace": "x", "name": "y"}})), pair("https://y.x.svc:443", "/"));
    }
}
