//! `container:NAME` as network, IPC or PID mode.

use super::super::host::{CreateRequest, HostConfig};
use crate::DockerState;
use crate::error::{Failure, invalid};
use hako_container::{ContainerEngine, Share};
use hako_names::ContainerId;
use serde_json::{Value, json};

/// Whose namespaces the container is in. The body's names become ids, which do not change.
pub(super) async fn share(
    state: &DockerState,
    request: &CreateRequest,
    host: &HostConfig,
    body: &mut Value,
) -> Result<Share, Failure> {
    let mut share = Share {
        net: shared(state, &host.network_mode).await?,
        ipc: shared(state, &host.ipc_mode).await?,
        pid: shared(state, &host.pid_mode).await?,
    };
    if request.network_disabled {
        share.net = None;
    }
    if share.net.is_some() {
        check_network(request, host)?;
    }
    for (field, id) in [("IpcMode", &share.ipc), ("PidMode", &share.pid)] {
        if let Some(id) = id {
            body["HostConfig"][field] = json!(format!("container:{id}"));
        }
    }
    Ok(share)
}

async fn shared(state: &DockerState, mode: &str) -> Result<Option<ContainerId>, Failure> {
    match mode.strip_prefix("container:") {
        None => Ok(None),
        Some("") => Err(invalid("invalid container format container:<name|id>")),
        // As a fault of the request: clients take "not found" for the image.
        Some(name) => state.engine.resolve(name).await.map(Some).map_err(|error| invalid(error.to_string())),
    }
}

/// What belongs to a network belongs to whom the network is of.
fn check_network(request: &CreateRequest, host: &HostConfig) -> Result<(), Failure> {
    let lists = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let has_ports =
        host.publish_all_ports || host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    let exposes = request.exposed_ports.as_ref().is_some_and(|ports| !ports.is_empty());
    let conflicts = [
        (!request.hostname.is_empty(), "hostname and the network mode"),
        (!request.mac_address.is_empty(), "mac-address and the network mode"),
        (
            lists(&host.links),
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (lists(&host.dns), "dns and the network mode"),
        (lists(&host.extra_hosts), "custom host-to-IP mapping and the network mode"),
        (has_ports, "port publishing and the container type network mode"),
        (exposes, "port exposing and the container type network mode"),
    ];
    match conflicts.iter().find(|(is_asked, _)| *is_asked) {
        Some((_, what)) => Err(invalid(format!("conflicting options: {what}"))),
        None => Ok(()),
    }
}
