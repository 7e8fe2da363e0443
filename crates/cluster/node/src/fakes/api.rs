//! As much of an API server as a node needs: objects by path, lists, watches, merge patches.

use super::Diary;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use hako_client::{Body, Transport, body_from};
use hako_error::Result;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::watch;

/// Objects by their path.
#[derive(Clone, Debug)]
pub(crate) struct FakeApi {
    diary: Diary,
    state: Arc<Mutex<State>>,
    revision: watch::Sender<u64>,
    /// Tokens so far.
    issued: Arc<AtomicU32>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// Revision, kind of collection, event.
    log: Vec<(u64, String, Value)>,
}

/// `/api/v1/namespaces/n/pods/p/status` as plural, path of the object and subresource.
struct Path {
    plural: String,
    object: String,
    has_name: bool,
}

fn parse(path: &str) -> Path {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let rest = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, more @ ..] if !more.is_empty() => (*namespace, more),
        _ => ("", rest),
    };
    let name = rest.get(1).copied().unwrap_or("");
    Path {
        plural: rest[0].to_owned(),
        object: format!("{}/{namespace}/{name}", rest[0]),
        has_name: !name.is_empty(),
    }
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                match value {
                    Value::Null => drop(into.remove(key)),
                    _ => merge(into.entry(key.clone()).or_insert(Value::Null), value),
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

impl FakeApi {
    pub(crate) fn new(diary: Diary) -> Self {
        Self { diary, state: Arc::default(), revision: watch::Sender::new(1), issued: Arc::default() }
    }

    /// Creates or replaces an object.
    pub(crate) fn put(&self, plural: &str, mut object: Value) {
        let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or("").to_owned();
        let path = format!("{plural}/{}/{}", text(&object, "namespace"), text(&object, "name"));
        let mut state = self.state.lock();
        let revision = *self.revision.borrow() + 1;
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        let kind = if state.objects.contains_key(&path) { "MODIFIED" } else { "ADDED" };
        state.log.push((revision, plural.to_owned(), json!({"type": kind, "object": object})));
        state.objects.insert(path, object);
        self.revision.send_replace(revision);
    }

    pub(crate) fn delete(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let mut state = self.state.lock();
        let Some(mut object) = state.objects.remove(&format!("{plural}/{namespace}/{name}")) else {
            return false;
        };
        let revision = *self.revision.borrow() + 1;
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        state.log.push((revision, plural.to_owned(), json!({"type": "DELETED", "object": object})));
        self.revision.send_replace(revision);
        true
    }

    pub(crate) fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.state.lock().objects.get(&format!("{plural}/{namespace}/{name}")).cloned()
    }

    /// Reasons and messages of all events so far.
    pub(crate) fn events(&self) -> Vec<String> {
        let state = self.state.lock();
        let events = state.objects.iter().filter(|(path, _)| path.starts_with("events/"));
        let text = |event: &Value| {
            format!("{} {}", event["reason"].as_str().unwrap_or(""), event["message"].as_str().unwrap_or(""))
        };
        events.map(|(_, event)| text(event)).collect()
    }

    /// Waits, by the runtime's clock, until the object satisfies `is_right`.
    pub(crate) async fn until(&self, path: [&str; 3], is_right: impl Fn(&Value) -> bool) -> Value {
        let mut revision = self.revision.subscribe();
        let waiting = async {
            loop {
                revision.borrow_and_update();
                let object = self.get(path[0], path[1], path[2]).unwrap_or(Value::Null);
                if is_right(&object) {
                    return object;
                }
                let _ = revision.changed().await;
            }
        };
        match tokio::time::timeout(std::time::Duration::from_secs(3600), waiting).await {
            Ok(object) => object,
            Err(_) => {
                panic!("{path:?} stayed {:#}", self.get(path[0], path[1], path[2]).unwrap_or(Value::Null))
            }
        }
    }

    fn watch(&self, plural: &str, from: u64) -> Body {
        let (api, plural) = (self.clone(), plural.to_owned());
        let frames = futures::stream::unfold((api.revision.subscribe(), from), move |(mut changed, from)| {
            let (api, plural) = (api.clone(), plural.clone());
            async move {
                loop {
                    changed.borrow_and_update();
                    let next = {
                        let state = api.state.lock();
                        state
                            .log
                            .iter()
                            .find(|(revision, kind, _)| *revision > from && *kind == plural)
                            .cloned()
                    };
                    if let Some((revision, _, event)) = next {
                        let frame: Result<_> = Ok(Frame::data(Bytes::from(format!("{event}\n"))));
                        return Some((frame, (changed, revision)));
                    }
                    changed.changed().await.ok()?;
                }
            }
        });
        StreamBody::new(frames.boxed()).boxed_unsync()
    }

    fn answer(&self, request: &Request<Bytes>) -> Response<Body> {
        let path = parse(request.uri().path());
        let query = request.uri().query().unwrap_or("");
        let parts: Vec<&str> = path.object.split('/').collect();
        match *request.method() {
            Method::GET if query.contains("watch=1") => {
                let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
                Response::new(self.watch(&path.plural, from.and_then(|text| text.parse().ok()).unwrap_or(0)))
            }
            Method::GET if path.has_name => match self.get(parts[0], parts[1], parts[2]) {
                Some(object) => ok(&object),
                None => missing(),
            },
            Method::GET => {
                let state = self.state.lock();
                let prefix = format!("{}/", path.plural);
                let items: Vec<&Value> =
                    state.objects.iter().filter(|(k, _)| k.starts_with(&prefix)).map(|(_, v)| v).collect();
                ok(
                    &json!({"items": items, "metadata": {"resourceVersion": self.revision.borrow().to_string()}}),
                )
            }
            Method::POST if request.uri().path().ends_with("/token") => {
                let mut object: Value = serde_json::from_slice(request.body()).unwrap();
                let number = self.issued.fetch_add(1, Ordering::Relaxed) + 1;
                object["status"] = json!({"token": format!("token-{number}")});
                ok(&object)
            }
            Method::POST => {
                let object: Value = serde_json::from_slice(request.body()).unwrap();
                self.put(&path.plural, object.clone());
                ok(&object)
            }
            Method::PATCH => {
                let Some(mut object) = self.get(parts[0], parts[1], parts[2]) else { return missing() };
                let patch: Value = serde_json::from_slice(request.body()).unwrap();
                merge(&mut object, &patch);
                if path.plural == "pods" {
                    self.diary.note("status");
                }
                self.put(&path.plural, object.clone());
                ok(&object)
            }
            Method::DELETE => {
                self.diary.note(format!("delete {}", path.object));
                if self.delete(parts[0], parts[1], parts[2]) { ok(&json!({})) } else { missing() }
            }
            _ => missing(),
        }
    }
}

fn ok(object: &Value) -> Response<Body> {
    Response::new(body_from(Bytes::from(object.to_string())))
}

fn missing() -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"});
    let mut response = ok(&status);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

impl Transport for FakeApi {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Body>>> {
        async move { Ok(self.answer(&request)) }.boxed()
    }
}
