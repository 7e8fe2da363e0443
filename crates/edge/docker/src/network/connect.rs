//! Connecting containers to networks, and taking them off.

use super::{Known, find};
use crate::DockerState;
use crate::container::body::JsonBody;
use crate::error::{Answer, Failure, invalid, message};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hako_container::{ContainerEngine, EndpointLink, EndpointSpec, NetworkMode};
use hako_error::{Error, Kind};
use hako_names::ContainerId;
use http::StatusCode;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ConnectRequest {
    container: String,
    endpoint_config: Option<EndpointSettings>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct DisconnectRequest {
    container: String,
    force: bool,
}

/// How a container is connected to a network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct EndpointSettings {
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<EndpointAddresses>,
    links: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
    pub(crate) mac_address: String,
    driver_opts: Option<BTreeMap<String, String>>,
    gw_priority: i32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct EndpointAddresses {
    #[serde(rename = "IPv4Address")]
    ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    ipv6_address: String,
    #[serde(rename = "LinkLocalIPs")]
    link_local_ips: Option<Vec<String>>,
}

/// The engine's words for an endpoint in the network of that name.
pub(crate) async fn endpoint_spec(
    state: &DockerState,
    network: &str,
    settings: EndpointSettings,
) -> Result<EndpointSpec, Failure> {
    let ipam = settings.ipam_config.unwrap_or_default();
    let options = settings.driver_opts.unwrap_or_default();
    hako_network::check_endpoint(&options)?;
    let is_predefined = matches!(network, "bridge" | "host" | "none");
    if is_predefined && !(ipam.ipv4_address.is_empty() && ipam.ipv6_address.is_empty()) {
        return Err(invalid("user specified IP address is supported on user defined networks only"));
    }
    let aliases = settings.aliases.unwrap_or_default();
    if network == "bridge" && !aliases.is_empty() {
        return Err(invalid(
            "network-scoped alias is supported only for containers in user defined networks",
        ));
    }
    if !settings.mac_address.is_empty() && hako_network::parse_mac(&settings.mac_address).is_none() {
        return Err(invalid(format!("invalid MAC address: {}", settings.mac_address)));
    }
    let mut links = Vec::new();
    for text in settings.links.iter().flatten() {
        links.push(link(state, text).await?);
    }
    Ok(EndpointSpec {
        network: network.to_owned(),
        aliases,
        links,
        ip4: address(&ipam.ipv4_address, false)?,
        ip6: address(&ipam.ipv6_address, true)?,
        link_local: link_local(&ipam)?,
        mac: settings.mac_address,
        priority: settings.gw_priority,
        options,
    })
}

/// `CONTAINER[:ALIAS]`.
pub(crate) async fn link(state: &DockerState, text: &str) -> Result<EndpointLink, Failure> {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    let container = state
        .engine
        .resolve(name)
        .await
        .map_err(|error| invalid(format!("could not get container for {name}: {error}")))?;
    let alias = alias.rsplit('/').next().unwrap_or(alias);
    Ok(EndpointLink { container, alias: alias.to_owned() })
}

/// Whether they are link-local shows when the container is connected.
fn link_local(ipam: &EndpointAddresses) -> Result<Vec<IpAddr>, Failure> {
    let address = |text: &String| {
        let ip = text.parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified());
        ip.ok_or_else(|| invalid(format!("invalid link-local IP address: {text}")))
    };
    ipam.link_local_ips.iter().flatten().map(address).collect()
}

fn address(text: &str, is_ipv6: bool) -> Result<Option<IpAddr>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let family = if is_ipv6 { "IPv6" } else { "IPv4" };
    let ip = text.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv6() == is_ipv6);
    ip.map(Some).ok_or_else(|| invalid(format!("invalid {family} address: {text}")))
}

pub(super) async fn connect(
    State(state): State<DockerState>,
    Path(wanted): Path<String>,
    JsonBody(request): JsonBody<ConnectRequest>,
) -> Answer {
    let net = kept(find(&state, &wanted).await?)?;
    named(&request.container)?;
    let id = state.engine.resolve(&request.container).await?;
    let spec = endpoint_spec(&state, &net, request.endpoint_config.unwrap_or_default()).await?;
    state.engine.connect_network(&id, spec).await?;
    Ok(StatusCode::OK.into_response())
}

pub(super) async fn disconnect(
    State(state): State<DockerState>,
    Path(wanted): Path<String>,
    JsonBody(request): JsonBody<DisconnectRequest>,
) -> Answer {
    named(&request.container)?;
    let id = match state.engine.resolve(&request.container).await {
        Err(error) if request.force && error.is_not_found() => {
            find(&state, &wanted).await?;
            let text = format!("endpoint {} not found", request.container);
            return Err(Failure(Error::new(Kind::NotFound, text)));
        }
        resolved => resolved?,
    };
    let left = match find(&state, &wanted).await {
        Ok(Known::Kept(net)) => state.engine.disconnect_network(&id, &net.name).await,
        Ok(Known::Mode("none", ..)) => state.engine.leave_none(&id).await,
        Ok(Known::Mode(name, _, mode)) => return not_of_mode(&state, &id, name, mode).await,
        Err(error) if request.force && error.0.is_not_found() => {
            let text = format!("container {id} is not connected to the network {wanted}");
            return Ok(not_connected(&text));
        }
        Err(error) => return Err(error),
    };
    match left {
        Err(error) if error.kind() == Kind::Forbidden => Ok(not_connected(&error.to_string())),
        left => left.map(|()| StatusCode::OK.into_response()).map_err(Failure::from),
    }
}

/// Docker's status for that, which clients may know it by.
fn not_connected(text: &str) -> Response {
    message(StatusCode::INTERNAL_SERVER_ERROR, text)
}

fn named(container: &str) -> Result<(), Failure> {
    match container.is_empty() {
        true => Err(invalid("invalid name or ID supplied: \"\"")),
        false => Ok(()),
    }
}

/// Why a container cannot be taken off the host's network.
async fn not_of_mode(state: &DockerState, id: &ContainerId, name: &str, mode: NetworkMode) -> Answer {
    let container = state.engine.container(id).await?;
    let sandbox = state.engine.sandbox(&container.sandbox).await?;
    if sandbox.spec.network != mode {
        return Ok(not_connected(&format!("container {id} is not connected to network {name}")));
    }
    Err(invalid("cannot disconnect container from host network - container was created in host network mode"))
}

fn kept(net: Known) -> Result<String, Failure> {
    match net {
        Known::Kept(net) => Ok(net.name),
        Known::Mode("host", ..) => Err(invalid(
            "cannot connect container to host network - container must be created in host network mode",
        )),
        Known::Mode(..) => Err(invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        )),
    }
}
