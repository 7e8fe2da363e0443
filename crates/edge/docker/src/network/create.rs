//! `POST /networks/create`.

use crate::DockerState;
use crate::container::body::JsonBody;
use crate::error::{Answer, Failure, invalid, unimplemented};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_container::NetworkRequest;
use hako_error::{Error, Kind};
use hako_network::{Driver, ENABLE, IpNet, Ipam};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Request {
    name: String,
    driver: String,
    scope: String,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_only: bool,
    config_from: Option<ConfigFrom>,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    ipam: Option<IpamRequest>,
    options: Option<BTreeMap<String, Value>>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ConfigFrom {
    network: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct IpamRequest {
    driver: String,
    options: Option<BTreeMap<String, String>>,
    config: Option<Vec<IpamConfig>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct IpamConfig {
    subnet: String,
    #[serde(rename = "IPRange")]
    range: String,
    gateway: String,
    #[serde(alias = "AuxiliaryAddresses")]
    aux_address: Option<BTreeMap<String, String>>,
}

pub(super) async fn create(State(state): State<DockerState>, JsonBody(request): JsonBody<Request>) -> Answer {
    let net = state.engine.create_network(wanted(request)?).await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": net.id, "Warning": "" }))).into_response())
}

fn wanted(request: Request) -> Result<NetworkRequest, Failure> {
    check(&request)?;
    let driver = driver(&request.driver)?;
    let mut ipam = Vec::<Ipam>::new();
    let (ipam_driver, ipam_options) = match &request.ipam {
        Some(ipam) => (ipam.driver.clone(), ipam.options.clone().unwrap_or_default()),
        None => <_>::default(),
    };
    for config in request.ipam.iter().flat_map(|ipam| ipam.config.iter().flatten()) {
        ipam.push(addresses(config)?);
    }
    let has_v6 = ipam.iter().any(|one| one.subnet.is_ipv6());
    let options = request.options.unwrap_or_default();
    let mut options: BTreeMap<String, String> =
        options.into_iter().map(|(name, value)| (name, text(value))).collect();
    let ipv6 = family(request.enable_ipv6, &mut options, ENABLE[1])?.unwrap_or(has_v6);
    let ipv4 = family(request.enable_ipv4, &mut options, ENABLE[0])?.unwrap_or(true);
    // As Docker does with what belongs to a family that the network is not to have.
    ipam.retain(|one| if one.subnet.is_ipv6() { ipv6 } else { ipv4 });
    Ok(NetworkRequest {
        name: request.name,
        driver,
        internal: request.internal,
        attachable: request.attachable,
        ipv4,
        ipv6,
        ipam,
        ipam_driver,
        ipam_options,
        config_only: request.config_only,
        config_from: request.config_from.map(|from| from.network).unwrap_or_default(),
        options,
        labels: request.labels.unwrap_or_default(),
    })
}

/// Whether the network has a family; an option says so where the request does not.
fn family(
    said: Option<bool>,
    options: &mut BTreeMap<String, String>,
    name: &str,
) -> Result<Option<bool>, Failure> {
    if said.is_some() {
        options.remove(name);
        return Ok(said);
    }
    let Some(value) = options.get(name) else { return Ok(None) };
    let is_on = hako_network::truth(value);
    is_on.map(Some).ok_or_else(|| invalid(format!("driver-opt {name:?} is not a valid bool")))
}

fn driver(name: &str) -> Result<Driver, Failure> {
    match name {
        "" | "default" | "bridge" => Ok(Driver::Bridge),
        "macvlan" => Ok(Driver::Macvlan),
        "ipvlan" => Ok(Driver::Ipvlan),
        "overlay" => Err(unimplemented("driver overlay is unimplemented: this node is not in a swarm")),
        "host" | "null" => Err(forbidden(format!("only one instance of {name:?} network is allowed"))),
        other => {
            let text = format!("could not find plugin {other} in v1 plugin registry: plugin not found");
            Err(Failure(Error::new(Kind::NotFound, text)))
        }
    }
}

/// What is refused, by name.
fn check(request: &Request) -> Result<(), Failure> {
    let name = request.name.as_str();
    if name.trim().is_empty() {
        return Err(invalid("invalid name: name is empty"));
    }
    if name.contains(['/', '\0']) {
        return Err(invalid(format!("invalid network name: {name:?}")));
    }
    if matches!(name, "bridge" | "host" | "none" | "default") {
        let text = format!("operation is not permitted on predefined {name} network");
        return Err(forbidden(text));
    }
    check_config(request)?;
    match request.scope.as_str() {
        // Only an overlay is, and that is refused by its own name.
        _ if request.ingress && request.driver != "overlay" => {
            Err(forbidden("Ingress network can only be global scope network"))
        }
        "" | "local" => Ok(()),
        "swarm" => Err(forbidden("cannot create a swarm scoped network when swarm is not active")),
        scope => Err(unimplemented(format!("network scope {scope} is unimplemented: leave it out"))),
    }
}

/// A network of settings has no more than settings, and one that takes them over has none of its own.
fn check_config(request: &Request) -> Result<(), Failure> {
    let is_from = request.config_from.as_ref().is_some_and(|from| !from.network.is_empty());
    let is_operated = request.ingress || request.internal || request.attachable || !request.scope.is_empty();
    if request.config_only && is_operated {
        return Err(forbidden(
            "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
        ));
    }
    if request.config_only && is_from {
        return Err(forbidden("a configuration network cannot depend on another configuration network"));
    }
    let ipam = request.ipam.clone().unwrap_or_default();
    let has_own = !matches!(ipam.driver.as_str(), "" | "default")
        || ipam.config.is_some_and(|config| !config.is_empty())
        || ipam.options.is_some_and(|options| !options.is_empty())
        || request.enable_ipv4 == Some(false)
        || request.enable_ipv6 == Some(true)
        || request.labels.as_ref().is_some_and(|labels| !labels.is_empty());
    if is_from && has_own {
        return Err(forbidden(
            "user specified configurations are not supported if the network depends on a configuration network",
        ));
    }
    if is_from && request.options.as_ref().is_some_and(|options| !options.is_empty()) {
        return Err(forbidden(
            "network driver options are not supported if the network depends on a configuration network",
        ));
    }
    Ok(())
}

fn forbidden(text: impl Into<String>) -> Failure {
    Failure(Error::new(Kind::Forbidden, text.into()))
}

/// Options are texts, but some clients send numbers and truths.
fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn addresses(config: &IpamConfig) -> Result<Ipam, Failure> {
    let address = |text: &str| {
        text.parse::<IpAddr>().map_err(|_| invalid(format!("invalid address {text:?} of a network")))
    };
    let range = match config.range.as_str() {
        "" => None,
        text => Some(net(text)?),
    };
    let gateway = match config.gateway.as_str() {
        "" => None,
        text => Some(address(text)?),
    };
    let mut aux = BTreeMap::new();
    for (name, text) in config.aux_address.iter().flatten() {
        aux.insert(name.clone(), address(text)?);
    }
    Ok(Ipam { subnet: net(&config.subnet)?, gateway, range, aux, chosen: true })
}

fn net(text: &str) -> Result<IpNet, Failure> {
    let parts = text.split_once('/').and_then(|(ip, prefix)| Some((ip.parse().ok()?, prefix.parse().ok()?)));
    let (ip, prefix): (IpAddr, u8) = parts
        .filter(|(ip, prefix): &(IpAddr, u8)| *prefix <= if ip.is_ipv6() { 128 } else { 32 })
        .ok_or_else(|| invalid(format!("invalid subnet {text}: invalid CIDR block notation")))?;
    let net = IpNet::new(ip, prefix);
    match text == net.to_string() || net.base() == ip {
        true => Ok(net),
        false => Err(invalid(format!("invalid subnet {text}: it should be {net}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: Value) -> Result<NetworkRequest, Failure> {
        wanted(serde_json::from_value(body).unwrap())
    }

    #[test]
    fn a_request_of_the_cli_becomes_a_network() {
        let net = parsed(json!({
            "Name": "app", "Driver": "bridge", "EnableIPv6": true, "Labels": { "a": "b" }, "Options": { "x": 1 },
            "IPAM": { "Driver": "default", "Options": {}, "Config": [
                { "Subnet": "172.30.0.0/16", "IPRange": "172.30.5.0/24", "Gateway": "172.30.0.9",
                  "AuxiliaryAddresses": { "router": "172.30.0.2" } },
                { "Subnet": "fd00:7::/64" } ] },
        }))
        .unwrap();
        assert!(net.ipv4 && net.ipv6 && net.ipam.len() == 2);
        assert_eq!(net.ipam[0].gateway, Some("172.30.0.9".parse().unwrap()));
        assert_eq!(net.ipam[0].aux["router"], "172.30.0.2".parse::<IpAddr>().unwrap());
        assert_eq!(net.options["x"], "1");
        let options = json!({ ENABLE[0]: "0", ENABLE[1]: "true" });
        let by_option = parsed(json!({ "Name": "six", "Options": options })).unwrap();
        assert!(!by_option.ipv4 && by_option.ipv6);
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        let text = |body: Value| parsed(body).unwrap_err().0.to_string();
        assert!(text(json!({ "Name": "a", "Ingress": true })).contains("Ingress network can only be"));
        assert!(text(json!({ "Name": "bridge" })).contains("predefined bridge"));
        assert!(text(json!({ "Name": "a", "Driver": "host" })).contains("only one instance of \"host\""));
        assert_eq!(text(json!({ "Name": " " })), "invalid name: name is empty");
        let odd = json!({ "Name": "a", "Options": { ENABLE[1]: "odd" } });
        assert_eq!(text(odd), "driver-opt \"com.docker.network.enable_ipv6\" is not a valid bool");
        let wide = json!({ "Name": "a", "IPAM": { "Config": [{ "Subnet": "10.0.0.0/33" }] } });
        assert_eq!(text(wide), "invalid subnet 10.0.0.0/33: invalid CIDR block notation");
        assert!(text(json!({ "Name": "a", "Driver": "weave" })).contains("weave"));
        let subnet = json!({ "Name": "a", "IPAM": { "Config": [{ "Subnet": "10.0.0.1/8" }] } });
        assert_eq!(text(subnet), "invalid subnet 10.0.0.1/8: it should be 10.0.0.0/8");
    }
}
