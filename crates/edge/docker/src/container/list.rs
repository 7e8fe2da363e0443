//! `GET /containers/json`.

use crate::error::{Answer, Failure};
use crate::params::{Filters, Params};
use crate::{DockerState, human, network};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_container::{Container, ContainerEngine, Filter, MountSource, Sandbox, SandboxId};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;

const FILTERS: [&str; 11] = [
    "id", "name", "label", "status", "ancestor", "network", "volume", "exited", "publish", "expose", "health",
];

pub(crate) async fn list(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&FILTERS)?;
    let limit = params.number::<i64>("limit")?.filter(|limit| *limit > 0);
    let shows_all = params.flag("all")
        || limit.is_some()
        || !filters.get("status").is_empty()
        || !filters.get("exited").is_empty();
    let sandboxes = sandboxes(&state).await?;
    let now = Timestamp::now();
    let mut shown = Vec::new();
    for container in newest_first(&state).await? {
        if !(shows_all || container.state.is_running() || container.restarting) {
            continue;
        }
        let sandbox = sandboxes.get(&container.sandbox);
        if matches(&filters, &container, sandbox) {
            shown.push(json(&container, sandbox, now));
        }
    }
    shown.truncate(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
    Ok(Json(shown).into_response())
}

/// All containers of this face as the list shows them.
pub(crate) async fn all(state: &DockerState) -> Result<Vec<Value>, Failure> {
    let sandboxes = sandboxes(state).await?;
    let now = Timestamp::now();
    Ok(newest_first(state)
        .await?
        .iter()
        .map(|container| json(container, sandboxes.get(&container.sandbox), now))
        .collect())
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

fn matches(filters: &Filters, container: &Container, sandbox: Option<&Sandbox>) -> bool {
    let mode = sandbox.map_or("none", |sandbox| network::name(sandbox.spec.network));
    let image = super::image(container);
    let name = container.spec.image.as_written();
    let id_of_image = container.resolved.image_id.trim_start_matches("sha256:");
    let has_volume = |wanted: &str| {
        container.spec.mounts.iter().any(|mount| {
            mount.target.as_os_str() == wanted
                || matches!(&mount.source, MountSource::Volume { name } if name == wanted)
        })
    };
    let publishes = |wanted: &str| {
        let port = wanted.split('/').next().unwrap_or_default();
        let ports = sandbox.map(|sandbox| sandbox.spec.ports.as_slice()).unwrap_or_default();
        ports.iter().any(|mapping| mapping.container_port.to_string() == port)
    };
    filters.any("id", |wanted| container.id.as_str().starts_with(wanted))
        && filters.any("name", |wanted| container.spec.name.contains(wanted.trim_matches(['/', '^', '$'])))
        && filters.any("status", |wanted| human::state(container) == wanted)
        && filters.any("exited", |wanted| {
            container.state.exit().is_some_and(|exit| exit.code.to_string() == wanted)
        })
        && filters.any("ancestor", |wanted| {
            image == wanted
                || name == wanted
                || name == format!("{wanted}:latest")
                || id_of_image.starts_with(wanted.trim_start_matches("sha256:"))
        })
        && filters.any("network", |wanted| mode == wanted || network::id(mode).starts_with(wanted))
        && filters.any("volume", has_volume)
        && filters.any("publish", publishes)
        && filters.any("expose", |wanted| {
            container
                .resolved
                .exposed_ports
                .iter()
                .any(|port| port.split('/').next() == wanted.split('/').next())
        })
        && filters.any("health", |wanted| wanted == "none")
        && filters.labels(&container.resolved.labels)
}

fn json(container: &Container, sandbox: Option<&Sandbox>, now: Timestamp) -> Value {
    let mode = sandbox.map_or("bridge", |sandbox| network::name(sandbox.spec.network));
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
        "Status": human::status(container, now),
        "HostConfig": { "NetworkMode": mode },
        "NetworkSettings": { "Networks": super::inspect::networks(sandbox) },
        "Mounts": super::inspect::mounts(container),
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
