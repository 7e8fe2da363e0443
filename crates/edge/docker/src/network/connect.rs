//! Connecting containers to networks, and taking them off.

use super::{Known, find};
use crate::DockerState;
use crate::container::body::JsonBody;
use crate::error::{Answer, Failure, invalid, unimplemented};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use hako_container::{ContainerEngine, EndpointLink, EndpointSpec};
use hako_error::{Error, Kind};
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
    if ipam.link_local_ips.is_some_and(|ips| !ips.is_empty()) {
        return Err(unimplemented(format!(
            "endpoint field IPAMConfig.LinkLocalIPs of network {network} is unimplemented: leave it out"
        )));
    }
    let options = settings.driver_opts.unwrap_or_default();
    hako_network::check_endpoint(&options)?;
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
        .map_err(|_| invalid(format!("could not get container for {name}")))?;
    let alias = alias.rsplit('/').next().unwrap_or(alias);
    Ok(EndpointLink { container, alias: alias.to_owned() })
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
    let net = kept(find(&state, &wanted).await?)?;
    let id = match state.engine.resolve(&request.container).await {
        // By force: what is not there is not connected.
        Err(error) if request.force && error.is_not_found() => return Ok(StatusCode::OK.into_response()),
        resolved => resolved?,
    };
    state.engine.disconnect_network(&id, &net).await?;
    Ok(StatusCode::OK.into_response())
}

fn kept(net: Known) -> Result<String, Failure> {
    match net {
        Known::Kept(net) => Ok(net.name),
        Known::Mode("host", ..) => Err(Failure(Error::new(
            Kind::Forbidden,
            "container cannot be connected to host network nor disconnected from it",
        ))),
        Known::Mode(..) => Err(Failure(Error::new(
            Kind::Forbidden,
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        ))),
    }
}
