//! Whether an aggregated server answers, and what it serves: asked again and again for as long as its APIService is
//! there, each server by a task of its own.
//!
//! Checks are those of kube-aggregator (pkg/controllers/status/remote), and so are their reasons and words.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hako_client::{DynamicApi, Patch, ResourceType, Transport as _, WriteOptions};
use hako_error::{Kind, Result};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::service::{Remote, State};
use super::{headers, resources};
use crate::auth::Identity;
use crate::kinds;
use crate::kinds::custom_resource::{condition, set_condition};
use crate::openapi::Swagger;
use crate::proxy;
use crate::resource::Target;
use crate::server::{Inner, Server};
use crate::webhook_client;

/// How long an answer may take.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Bytes of the longest answer that is read.
const ANSWER_BYTES: usize = 2 << 20;
/// The same of its document of OpenAPI.
const DOCUMENT_BYTES: usize = 4 << 20;
/// How often it is looked whether the service has endpoints.
const LOOK: Duration = Duration::from_secs(1);
/// After how long one that answered is asked again, and one that did not.
const ASK_AGAIN: Duration = Duration::from_secs(30);
const ASK_SOON: Duration = Duration::from_secs(2);

/// Why it is not available: the reason and the message of its condition.
type Fault = (&'static str, String);

/// Asks until the APIService is gone or the server stops.
pub(super) async fn follow(server: Weak<Inner>, remote: Arc<Remote>) {
    let mut asked: Option<Instant> = None;
    loop {
        let Some(inner) = server.upgrade() else { return };
        let turn = turn(&inner, &remote, &mut asked);
        if remote.stop.run_until_cancelled(turn).await.is_none() {
            return;
        }
        drop(inner);
        tokio::select! {
            () = remote.stop.cancelled() => return,
            () = remote.poke.notified() => asked = None,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Looks, asks if it is time to, and says how it is if that is another way than before.
async fn turn(server: &Arc<Inner>, remote: &Remote, asked: &mut Option<Instant>) {
    let before = remote.state.read().clone();
    let again = if before.is_available { ASK_AGAIN } else { ASK_SOON };
    let is_due = asked.is_none_or(|asked| asked.elapsed() >= again);
    let now = match place(server, remote).await {
        Err((reason, message)) => {
            *asked = None;
            State { is_available: false, reason, message, ..before.clone() }
        }
        Ok(()) if is_due => {
            let state = ask(remote, &before).await;
            *asked = Some(Instant::now());
            state
        }
        Ok(()) => before.clone(),
    };
    if before.is_available && !now.is_available {
        server.aggregated.count_unavailable(&remote.name, now.reason);
    }
    if now != before {
        *remote.state.write() = now.clone();
        server.aggregated.say_otherwise();
    }
    if now.reason.is_empty() || *remote.told.lock() == now.condition() {
        return;
    }
    match tell(server, remote, &now).await {
        Ok(true) => *remote.told.lock() = now.condition(),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(service = remote.name, %error, "the status of an APIService was not written");
        }
    }
}

/// Whether the service is there and leads somewhere.
async fn place(server: &Inner, remote: &Remote) -> Result<(), Fault> {
    let (namespace, name, port) = (&remote.backend.namespace, &remote.backend.name, remote.backend.port);
    let about = format!("service/{name} in {namespace:?}");
    if kinds_of_definitions(server, remote) {
        let (group, version) = (&remote.group, &remote.version);
        let text = format!("{group}/{version} is served by a CustomResourceDefinition, which goes first");
        return Err(("ServedLocally", text));
    }
    let Some(row) = kinds::by_resource("", "v1", "services") else { return Ok(()) };
    let target = Target { row: Arc::clone(row), namespace: namespace.clone(), name: name.clone() };
    let service = match target.read(&*server.config.store).await {
        Ok(entry) => serde_json::from_slice::<Value>(&entry.value).unwrap_or_default(),
        Err(failure) if failure.is(404) => {
            return Err(("ServiceNotFound", format!("{about} is not present")));
        }
        Err(failure) => {
            let why = &failure.status().message;
            return Err(("ServiceAccessError", format!("{about} cannot be checked due to: {why}")));
        }
    };
    if service.pointer("/spec/type").is_some_and(|kind| kind == "ExternalName") {
        return Ok(());
    }
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let is_it = |it: &&Value| it.get("port").and_then(Value::as_u64) == Some(u64::from(port));
    let Some(found) = ports.into_iter().find(is_it) else {
        return Err(("ServicePortError", format!("{about} is not listening on port {port}")));
    };
    let port_name = found.get("name").and_then(Value::as_str).unwrap_or("");
    let slices = proxy::slices(server, namespace, name).await.map_err(|failure| {
        let why = &failure.status().message;
        ("EndpointsAccessError", format!("{about} cannot be checked due to: {why}"))
    })?;
    if slices.is_empty() {
        return Err(("EndpointsNotFound", format!("cannot find endpointslices for {about}")));
    }
    if slices.iter().all(|slice| proxy::ready(slice, port_name).is_empty()) {
        let text = format!("endpointslices for {about} have no addresses with port name {port_name:?}");
        return Err(("MissingEndpoints", text));
    }
    Ok(())
}

/// Whether definitions of custom resources serve what the APIService claims.
fn kinds_of_definitions(server: &Inner, remote: &Remote) -> bool {
    server.kinds.now().of(&remote.group, &remote.version).next().is_some()
}

/// What it says of its version of its group. One that answers with 200 is available, whatever it says.
async fn ask(remote: &Remote, before: &State) -> State {
    let Remote { group, version, backend, .. } = remote;
    let path = format!("/apis/{group}/{version}");
    match tokio::time::timeout(ANSWER_TIME, get(remote, &path)).await {
        Ok(Ok(body)) => {
            let told = serde_json::from_slice::<Value>(&body).ok();
            let found = told.and_then(|list| resources::of(group, version, &list)).map(Arc::new);
            State {
                is_available: true,
                reason: "Passed",
                message: "all checks passed".to_owned(),
                is_current: found.is_some(),
                resources: found.or_else(|| before.resources.clone()),
                openapi: openapi(remote).await,
                swagger: swagger(remote, before).await,
            }
        }
        failed => {
            let url = format!("{}{path}", backend.origin());
            let message = match failed {
                Ok(Err(why)) => format!("failing or missing response from {url}: {why}"),
                _ => format!("timed out waiting for {url}"),
            };
            State { is_available: false, reason: "FailedDiscoveryCheck", message, ..before.clone() }
        }
    }
}

/// Where its document of the version is, by its own index.
async fn openapi(remote: &Remote) -> Option<String> {
    let body = tokio::time::timeout(ANSWER_TIME, get(remote, "/openapi/v3")).await.ok()?.ok()?;
    let index: Value = serde_json::from_slice(&body).ok()?;
    let name = format!("apis/{}/{}", remote.group, remote.version);
    let url = index.get("paths")?.get(&name)?.get("serverRelativeURL")?.as_str()?;
    let rest = url.strip_prefix(&format!("/openapi/v3/{name}"))?;
    let is_it = (rest.is_empty() || rest.starts_with('?')) && rest.len() < 512;
    is_it.then(|| url.to_owned())
}

/// What it says of its kinds in OpenAPI version 2. One that does not answer says what it said before.
async fn swagger(remote: &Remote, before: &State) -> Option<(String, Arc<Swagger>)> {
    let tag = before.swagger.as_ref().map_or("", |(tag, _)| tag.as_str());
    let answered = tokio::time::timeout(ANSWER_TIME, call(remote, "/openapi/v2", tag, DOCUMENT_BYTES)).await;
    let Ok(Ok(Answered { code, tag, body })) = answered else { return before.swagger.clone() };
    match code {
        StatusCode::NOT_MODIFIED => before.swagger.clone(),
        StatusCode::OK => {
            let read = Swagger::read(&remote.group, &remote.version, &body)?;
            Some((tag, Arc::new(read)))
        }
        _ => None,
    }
}

/// What it answered.
struct Answered {
    code: StatusCode,
    tag: String,
    body: Bytes,
}

async fn get(remote: &Remote, path: &str) -> Result<Bytes, String> {
    let Answered { code, body, .. } = call(remote, path, "", ANSWER_BYTES).await?;
    if !code.is_success() {
        return Err(format!("bad status from {}{path}: {}", remote.backend.origin(), code.as_u16()));
    }
    Ok(body)
}

/// Asks in the name of the aggregator, which may ask for everything.
async fn call(remote: &Remote, path: &str, tag: &str, bytes: usize) -> Result<Answered, String> {
    let client = remote.connection.client.as_ref().map_err(|error| webhook_client::first_cause(error))?;
    let mut request = Request::get(path)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "kube-aggregator")
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    let aggregator = Identity::new("system:kube-aggregator", &["system:masters"]);
    headers::set_identity(&aggregator, request.headers_mut());
    if let Some(tag) = HeaderValue::from_str(tag).ok().filter(|tag| !tag.is_empty()) {
        request.headers_mut().insert(header::IF_NONE_MATCH, tag);
    }
    let response = client.call(request).await.map_err(|error| webhook_client::first_cause(&error))?;
    let code = response.status();
    let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or("").to_owned();
    let body = Limited::new(response.into_body(), bytes).collect().await;
    // What is longer, or breaks off, is an answer, and says nothing.
    Ok(Answered { code, tag, body: body.map(|body| body.to_bytes()).unwrap_or_default() })
}

/// APIServices, as the server itself changes them.
pub(super) fn api(server: &Arc<Inner>) -> DynamicApi {
    let client = Server::of(server).client(Identity::admin()).named("kube-apiserver");
    client.dynamic(&ResourceType::new("apiregistration.k8s.io", "v1", "apiservices"), None)
}

/// Writes the condition; whether nothing is left to write.
async fn tell(server: &Arc<Inner>, remote: &Remote, state: &State) -> Result<bool> {
    let stored = match api(server).get(&remote.name).await {
        Err(error) if error.kind() == Kind::NotFound => return Ok(true),
        other => other?,
    };
    if stored["metadata"]["uid"] != remote.uid.as_str() {
        return Ok(true);
    }
    let mut wanted = stored.clone();
    let [status, reason, message] = state.condition();
    set_condition(&mut wanted, condition("Available", &status, &reason, &message));
    let without_time = |object: &Value| {
        let mut conditions = object["status"]["conditions"].clone();
        for condition in conditions.as_array_mut().into_iter().flatten() {
            condition["lastTransitionTime"] = Value::Null;
        }
        conditions
    };
    if without_time(&wanted) == without_time(&stored) {
        return Ok(true);
    }
    let patch = Patch::Merge(json!({
        "metadata": {"resourceVersion": stored["metadata"]["resourceVersion"], "uid": remote.uid},
        "status": {"conditions": wanted["status"]["conditions"]},
    }));
    match api(server).patch(&remote.name, Some("status"), &patch, &WriteOptions::default()).await {
        Ok(_) => Ok(true),
        // Somebody was faster: another turn looks again.
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => Ok(false),
        Err(error) => Err(error),
    }
}
