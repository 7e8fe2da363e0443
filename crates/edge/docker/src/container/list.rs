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
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

pub(crate) async fn list(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    let wanted = Wanted::read(&state, &filters).await?;
    let limit = params.number::<i64>("limit")?.filter(|limit| *limit > 0);
    let shows_all = params.flag("all")
        || limit.is_some()
        || ["status", "exited", "before", "since"].iter().any(|name| !filters.get(name).is_empty());
    let sandboxes = sandboxes(&state).await?;
    let now = Timestamp::now();
    let containers = newest_first(&state).await?;
    let mut shown = Vec::new();
    for container in &containers {
        if !(shows_all || container.state.is_running() || container.restarting) {
            continue;
        }
        let sandbox = sandboxes.get(&container.sandbox);
        let health = state.health.status(container);
        if wanted.holds(&filters, container, sandbox, health) {
            shown.push(summary(&state, container, sandbox, now, health));
        }
    }
    shown.truncate(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
    if params.flag("size") {
        add_sizes(&state, &mut shown).await?;
    }
    Ok(Json(shown).into_response())
}

/// Takes the sizes of each.
async fn add_sizes(state: &DockerState, shown: &mut [Summary<'_>]) -> Result<(), Failure> {
    for one in shown {
        let Ok(id) = one.id.parse() else { continue };
        let (size_rw, size_root_fs) = super::sizes(state, &id, one.image_id).await?;
        one.sizes = Some(Sizes { size_rw, size_root_fs });
    }
    Ok(())
}

/// All containers of this face as the list shows them, with sizes.
pub(crate) async fn all(state: &DockerState) -> Result<Value, Failure> {
    let sandboxes = sandboxes(state).await?;
    let now = Timestamp::now();
    let list = newest_first(state).await?;
    let show = |one| summary(state, one, sandboxes.get(&one.sandbox), now, state.health.status(one));
    let mut shown: Vec<Summary<'_>> = list.iter().map(show).collect();
    add_sizes(state, &mut shown).await?;
    Ok(json!(shown))
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

/// One container in a list; the reference's `ContainerSummary`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summary<'a> {
    id: &'a str,
    names: [String; 1],
    image: String,
    #[serde(rename = "ImageID")]
    image_id: &'a str,
    command: String,
    created: i64,
    ports: Vec<Value>,
    labels: &'a BTreeMap<String, String>,
    state: &'static str,
    status: String,
    host_config: HostConfig,
    network_settings: NetworkSettings,
    mounts: Vec<Value>,
    #[serde(flatten)]
    sizes: Option<Sizes>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    network_mode: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: Value,
}

/// What the container wrote, and that with its image's layers, in bytes.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Sizes {
    size_rw: u64,
    size_root_fs: u64,
}

fn summary<'a>(
    state: &DockerState,
    container: &'a Container,
    sandbox: Option<&Sandbox>,
    now: Timestamp,
    health: Status,
) -> Summary<'a> {
    let suffix = if container.state.is_running() && !container.paused { health.suffix() } else { "" };
    Summary {
        id: container.id.as_str(),
        names: [format!("/{}", container.spec.name)],
        image: container.spec.image_as_written(),
        image_id: &container.resolved.image_id,
        command: command(&container.resolved.argv),
        created: container.created_at.as_second(),
        ports: ports(container, sandbox),
        labels: &container.resolved.labels,
        state: human::state(container),
        status: human::status(container, now) + suffix,
        host_config: HostConfig { network_mode: sandbox.map_or_else(|| "bridge".to_owned(), network::mode) },
        network_settings: NetworkSettings { networks: sandbox.map_or_else(|| json!({}), network::settings) },
        mounts: super::mounted::mounts(state, container, || super::inspect::request(container)),
        sizes: None,
    }
}

/// Program and arguments in a line, as Docker writes them.
fn command(argv: &[String]) -> String {
    let quoted = |(at, word): (usize, &String)| match at > 0 && word.contains(' ') {
        true => format!("'{word}'"),
        false => word.clone(),
    };
    argv.iter().enumerate().map(quoted).collect::<Vec<_>>().join(" ")
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
