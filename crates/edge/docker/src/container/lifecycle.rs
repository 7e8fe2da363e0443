//! Starting, ending, waiting, removing.

use super::body::{JsonBody, typed};
use super::create::{refuse, refuse_changes, resources, restart_policy};
use super::host::HostConfig;
use crate::DockerState;
use crate::api::ApiVersion;
use crate::error::{Answer, Failure, invalid, unimplemented};
use crate::events::note;
use crate::named::Named;
use crate::params::Params;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use hako_container::{ContainerEngine, Filter, Removal, Update, WaitCondition, parse_signal};
use hako_error::{Error, Kind, Result};
use hako_names::ContainerId;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;

/// How long `kill` waits for the end of what cannot refuse it.
const DEATH_LIMIT: Duration = Duration::from_secs(10);
const SIGKILL: i32 = 9;
/// How long a container may take to end when the client does not say.
const GRACE: Duration = Duration::from_secs(10);
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

async fn is_running(state: &DockerState, id: &ContainerId) -> Result<bool> {
    let container = state.engine.container(id).await?;
    Ok(container.state.is_running() || container.restarting)
}

/// `t` in seconds, else the container's own; negative is for ever.
async fn grace(state: &DockerState, id: &ContainerId, params: &Params) -> Result<Duration, Failure> {
    match params.number::<i64>("t")? {
        None => Ok(state.engine.container(id).await?.spec.stop_timeout.unwrap_or(GRACE)),
        Some(seconds) => Ok(timeout(seconds)),
    }
}

/// Seconds as Docker writes them: negative is for ever.
pub(crate) fn timeout(seconds: i64) -> Duration {
    u64::try_from(seconds).map_or(FOREVER, Duration::from_secs)
}

fn signal(params: &Params) -> Result<Option<i32>, Failure> {
    Ok(params.get("signal").map(parse_signal).transpose()?)
}

/// The longest body that asks for nothing: `null` or `{}` with an end of line.
const EMPTY_BODY: u64 = 7;

/// Whether there is a body that asks for something, as versions before 1.24 had it.
fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_some_and(|length: u64| length > EMPTY_BODY) || headers.contains_key(header::TRANSFER_ENCODING)
}

pub(crate) async fn start(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Answer {
    if has_body(&headers) {
        return Err(invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    if params.get("checkpoint").or(params.get("checkpoint-dir")).is_some() {
        return Err(unimplemented("starting from a checkpoint is unimplemented: start the container anew"));
    }
    let id = state.engine.resolve(&name).await?;
    if state.engine.container(&id).await?.state.is_running() {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    state.engine.start(&id).await.map_err(start_failure)?;
    Ok(no_content())
}

/// The container is there, so a missing program is the request's fault. The CLI makes exit codes 127 and 126 out of
/// the words that Docker's daemon uses.
fn start_failure(error: Error) -> Failure {
    let text = error.chain();
    match error.kind() {
        Kind::NotFound => invalid(text),
        Kind::Forbidden => invalid(format!("{text}: permission denied")),
        _ => Failure(error),
    }
}

pub(crate) async fn stop(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    if !is_running(&state, &id).await? {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let grace = grace(&state, &id, &params).await?;
    gone_is_done(state.engine.stop(&id, signal(&params)?, grace).await)?;
    Ok(no_content())
}

/// A container that removed itself while it was being stopped is stopped.
fn gone_is_done(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}

pub(crate) async fn restart(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let grace = grace(&state, &id, &params).await?;
    state.engine.restart(&id, signal(&params)?, grace).await.map_err(start_failure)?;
    note(&state, &id, "restart").await;
    Ok(no_content())
}

pub(crate) async fn kill(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let signal = parse_signal(params.get("signal").unwrap_or("KILL"))?;
    let killed = state.engine.kill(&id, signal).await;
    killed.map_err(|error| error.context(format!("cannot kill container: {name}")))?;
    if signal == SIGKILL {
        // As Docker does, so that a start right after it starts. One that cannot die keeps nobody waiting.
        let ended = state.engine.wait(&id, WaitCondition::NotRunning);
        let _ = tokio::time::timeout(DEATH_LIMIT, ended).await;
    }
    Ok(no_content())
}

pub(crate) async fn pause(State(state): State<DockerState>, Path(name): Path<String>) -> Answer {
    let id = state.engine.resolve(&name).await?;
    state.engine.pause(&id).await?;
    Ok(no_content())
}

pub(crate) async fn unpause(State(state): State<DockerState>, Path(name): Path<String>) -> Answer {
    let id = state.engine.resolve(&name).await?;
    state.engine.unpause(&id).await?;
    Ok(no_content())
}

pub(crate) async fn rename(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let wanted = params.get("name").ok_or_else(|| invalid("Neither old nor new names may be empty"))?;
    state.engine.rename(&id, wanted.trim_start_matches('/')).await?;
    Ok(no_content())
}

pub(crate) async fn update(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    version: ApiVersion,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    refuse(&json!({ "HostConfig": body }))?;
    refuse_changes(&body, &super::inspect::host(&state, &id).await?)?;
    let changes_ports = body.get("PortBindings").is_some_and(|ports| !ports.is_null());
    let mut host: HostConfig = typed(body).map_err(|error| invalid(format!("update: {error}")))?;
    super::create::check_update(&host, &state.engine.container(&id).await?.spec.resources)?;
    let warnings = super::create::settle(|feature| state.engine.has(feature), &mut host, version)?;
    // Ours, beside Docker's fields: ports of a container that exists, also while it runs.
    if changes_ports {
        let container = state.engine.container(&id).await?;
        let sandbox = state.engine.sandbox(&container.sandbox).await?;
        let everywhere = super::create::everywhere(&state, &crate::network::mode(&sandbox)).await?;
        state.engine.publish(&id, super::create::ports(&host, &[], &everywhere)?).await?;
    }
    let policy = host.restart_policy.as_ref().filter(|policy| !policy.name.is_empty());
    let restart = policy.map(|policy| restart_policy(Some(policy), false)).transpose()?;
    state.engine.update(&id, Update { resources: resources(&host, false)?, restart }).await?;
    Ok(Json(json!({ "Warnings": warnings })).into_response())
}

/// The answer's head goes out at once, its body when the condition holds: the CLI waits for the former before it starts the container.
pub(crate) async fn wait(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
    version: ApiVersion,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let condition = match params.get("condition").unwrap_or("not-running") {
        "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        // Checked since 1.30.
        _ if !version.has(30) => WaitCondition::NotRunning,
        other => return Err(invalid(format!("invalid condition: {other:?}"))),
    };
    let engine = state.engine.clone();
    let mut waiting = Box::pin(async move { engine.wait(&id, condition).await });
    // Polled once before the answer, so that an exit from now on is the next one.
    let early = match futures::poll!(&mut waiting) {
        std::task::Poll::Ready(exit) => Some(exit),
        std::task::Poll::Pending => None,
    };
    let body = stream::once(async move {
        let exit = match early {
            Some(exit) => exit,
            None => waiting.await,
        };
        let answer = match exit {
            Ok(exit) => json!({ "StatusCode": exit.code }),
            Err(error) => json!({ "StatusCode": -1, "Error": { "Message": error.chain() } }),
        };
        Ok::<_, Infallible>(Bytes::from(format!("{answer}\n")))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}

pub(crate) async fn remove(State(state): State<DockerState>, Named(name): Named, params: Params) -> Answer {
    if params.flag("link") {
        return unlink(&state, &name).await;
    }
    let id = state.engine.resolve(&name).await?;
    let removal = Removal { force: params.flag("force"), volumes: params.flag("v") };
    state.engine.remove(&id, removal).await?;
    Ok(no_content())
}

/// Takes a link away, which is named by who has it and by the name that it has there.
async fn unlink(state: &DockerState, name: &str) -> Answer {
    let Some((parent, alias)) = name.trim_matches('/').rsplit_once('/') else {
        state.engine.resolve(name).await?;
        let text = "Conflict, cannot remove the default link name of the container";
        return Err(Error::new(Kind::Conflict, text).into());
    };
    let is_gone = match state.engine.resolve(parent).await {
        Ok(parent) => state.engine.unlink(&parent, alias).await?,
        Err(error) if error.is_not_found() => false,
        Err(error) => return Err(error.into()),
    };
    match is_gone {
        true => Ok(no_content()),
        false => Err(Error::new(Kind::NotFound, format!("No such container: {name}")).into()),
    }
}

pub(crate) async fn prune(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&["label", "label!", "until"])?;
    let until = filters.until(jiff::Timestamp::now())?;
    let (mut deleted, mut freed) = (Vec::new(), 0);
    for container in state.engine.containers(&Filter { standalone: Some(true), ..Filter::default() }).await? {
        let is_chosen = filters.labels(&container.resolved.labels)
            && until.is_none_or(|until| container.created_at < until);
        if container.state.is_running() || container.restarting || !is_chosen {
            continue;
        }
        let bytes = super::written(&state, &container.id).await;
        match state.engine.remove(&container.id, Removal::default()).await {
            Ok(()) => {}
            // Somebody has started or removed it meanwhile.
            Err(error) if error.is_not_found() || error.kind() == Kind::FailedPrecondition => continue,
            Err(error) => return Err(error.into()),
        }
        freed += bytes;
        deleted.push(container.id);
    }
    state.events.prune("container", freed);
    Ok(Json(json!({ "ContainersDeleted": deleted, "SpaceReclaimed": freed })).into_response())
}
