//! `GET /containers/json`.

use super::filters::Wanted;
use super::health::Status;
use crate::error::{Answer, Failure};
use crate::params::Params;
use crate::{DockerState, human, network};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_container::{Container, ContainerEngine, Filter, Sandbox, SandboxId};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;

pub(crate) async fn list(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    let wanted = Wanted::read(&state, &filters).await?;
    let limit = params.number::<i64>("limit")?.filter(|limit| *limit > 0);
    let shows_all = params.flag("all")
        || limit.is_some()
        || ["status", "exited", "before", "since"].iter().any(|name| !filters.get(name).is_empty());
    let sandboxes = sandboxes(&state).await?;
    let now = Timestamp::now();
    let mut shown = Vec::new();
    for container in newest_first(&state).await? {
        if !(shows_all || container.state.is_running() || container.restarting) {
            continue;
        }
        let sandbox = sandboxes.get(&container.sandbox);
        let health = state.health.status(&container);
        if wanted.holds(&filters, &container, sandbox, health) {
            shown.push(json(&state, &container, sandbox, now, health));
        }
    }
    shown.truncate(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
    if params.flag("size") {
        add_sizes(&state, &mut shown).await?;
    }
    Ok(Json(shown).into_response())
}

/// What each container wrote (`SizeRw`), and that with its image's layers (`SizeRootFs`).
async fn add_sizes(state: &DockerState, shown: &mut [Value]) -> Result<(), Failure> {
    for one in shown {
        let Some(id) = one["Id"].as_str().and_then(|id| id.parse().ok()) else { continue };
        let image = one["ImageID"].as_str().unwrap_or_default().to_owned();
        let (written, whole) = super::sizes(state, &id, &image).await?;
        one["SizeRw"] = json!(written);
        one["SizeRootFs"] = json!(whole);
    }
    Ok(())
}

/// All containers of this face as the list shows them, with sizes.
pub(crate) async fn all(state: &DockerState) -> Result<Vec<Value>, Failure> {
    let sandboxes = sandboxes(state).await?;
    let now = Timestamp::now();
    let list = newest_first(state).await?;
    let show = |one: &Container| json(state, one, sandboxes.get(&one.sandbox), now, state.health.status(one));
    let mut shown: Vec<Value> = list.iter().map(show).collect();
    add_sizes(state, &mut shown).await?;
    Ok(shown)
}

async fn newest_first(state: &DockerState) -> Result<Vec<Container>, Failure> {
    let mut containers =
        state.engine.containers(&Filter { standalone: Some(true), ..Filter::default() }).await?;
    containers.reverse();
    Ok(containers)
}

async fn sandboxes(state: &DockerState) -> Result<HashMap<SandboxId, Sandbox>, Failure> {
    let sandboxes = state.engine.sandboxes(&Filter { standalone: Some(true), ..Filter::default() }).await?;
    Ok(sandboxes.into_iter().map(|sandbox| (sandbox.id.clone(), sandbox)).collect())
}

fn json(
    state: &DockerState,
    container: &Container,
    sandbox: Option<&Sandbox>,
    now: Timestamp,
    health: Status,
) -> Value {
    let suffix = if container.state.is_running() && !container.paused { health.suffix() } else { "" };
    let mode = sandbox.map_or_else(|| "bridge".to_owned(), network::mode);
    json!({
        "Id": container.id,
        "Names": [format!("/{}", container.spec.name)],
        "Image": super::image(container),
        "ImageID": container.resolved.image_id,
        "Command": container.resolved.argv.join(" "),
        "Created": container.created_at.as_second(),
        "Ports": ports(container, sandbox),
        "Labels": container.resolved.labels,
        "State": human::state(container),
        "Status": human::status(container, now) + suffix,
        "HostConfig": { "NetworkMode": mode },
        "NetworkSettings": { "Networks": sandbox.map_or_else(|| json!({}), network::settings) },
        "Mounts": super::inspect::mounts(state, container),
    })
}

/// Published ports as granted, then the ports that the image only says it has.
fn ports(container: &Container, sandbox: Option<&Sandbox>) -> Vec<Value> {
    let granted = sandbox.map(|sandbox| sandbox.ports.as_slice()).unwrap_or_default();
    let mut ports: Vec<Value> = granted
        .iter()
        .map(|port| json!({ "IP": port.host_ip, "PrivatePort": port.container_port, "PublicPort": port.host_port, "Type": port.protocol.as_str() }))
        .collect();
    for exposed in container.resolved.exposed_ports.iter().filter(|_| container.state.is_running()) {
        let (number, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
        let is_published = granted
            .iter()
            .any(|port| port.container_port.to_string() == number && port.protocol.as_str() == protocol);
        if let (false, Ok(number)) = (is_published, number.parse::<u16>()) {
            ports.push(json!({ "PrivatePort": number, "Type": protocol }));
        }
    }
    ports
}
