//! Networks and endpoints as Docker shows them.

use super::{Known, find, id, mode};
use crate::DockerState;
use crate::error::{Answer, Failure};
use crate::named::Named;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_container::{ContainerEngine, Filter, NetworkMode, NetworkSpec, Place, Sandbox};
use hako_network::{Endpoint, EndpointAddress, Ipam};
use serde_json::{Map, Value, json};

pub(super) async fn inspect(State(state): State<DockerState>, Named(wanted): Named) -> Answer {
    let net = find(&state, &wanted).await?;
    let members = members(&state, &net).await?;
    Ok(Json(json(&net, members)).into_response())
}

/// Who is connected now, by container.
async fn members(state: &DockerState, net: &Known) -> Result<Map<String, Value>, Failure> {
    let filter = Filter { standalone: Some(true), ..Filter::default() };
    let (containers, sandboxes) =
        (state.engine.containers(&filter).await?, state.engine.sandboxes(&filter).await?);
    let mut members = Map::new();
    for container in containers.iter().filter(|container| container.state.is_running()) {
        let Some(sandbox) = sandboxes.iter().find(|sandbox| sandbox.id == container.sandbox) else {
            continue;
        };
        let shown = match net {
            Known::Mode(_, _, mode) if sandbox.spec.network == *mode => member(&container.spec.name, None),
            Known::Mode(..) => continue,
            Known::Kept(net) => {
                let place = sandbox.places.iter().find(|place| place.network_id == net.id);
                let Some(endpoint) = place.and_then(|place| place.endpoint.as_ref()) else { continue };
                member(&container.spec.name, Some(endpoint))
            }
        };
        members.insert(container.id.to_string(), shown);
    }
    Ok(members)
}

fn member(name: &str, endpoint: Option<&Endpoint>) -> Value {
    let cidr = |address: Option<EndpointAddress>| {
        address.map(|address| format!("{}/{}", address.ip, address.prefix)).unwrap_or_default()
    };
    json!({
        "Name": name,
        "EndpointID": endpoint.map(|it| it.id.as_str()).unwrap_or_default(),
        "MacAddress": endpoint.map(|it| it.mac.as_str()).unwrap_or_default(),
        "IPv4Address": cidr(endpoint.and_then(Endpoint::v4)),
        "IPv6Address": cidr(endpoint.and_then(Endpoint::v6)),
    })
}

pub(super) fn json(net: &Known, members: Map<String, Value>) -> Value {
    let kept = match net {
        Known::Kept(net) => Some(&**net),
        Known::Mode(..) => None,
    };
    let is = |holds: fn(&NetworkSpec) -> bool| kept.is_some_and(holds);
    json!({
        "Name": net.name(), "Id": net.id(),
        "Created": kept.map_or_else(|| "1970-01-01T00:00:00Z".to_owned(), |net| net.created.to_string()),
        "Scope": "local", "Driver": net.driver(),
        "EnableIPv4": kept.is_none_or(NetworkSpec::has_ipv4), "EnableIPv6": is(NetworkSpec::has_ipv6),
        "IPAM": {
            "Driver": kept.map_or("default", |net| net.ipam_driver.as_str()),
            "Options": kept.filter(|net| !net.is_default()).map(|net| &net.ipam_options),
            "Config": kept.map(|net| net.ipam.iter().map(ipam).collect::<Vec<_>>()).unwrap_or_default(),
        },
        "Internal": is(|net| net.internal), "Attachable": is(|net| net.attachable), "Ingress": false,
        "ConfigFrom": { "Network": kept.map(|net| net.config_from.as_str()).unwrap_or_default() },
        "ConfigOnly": is(|net| net.config_only.is_some()), "Containers": members,
        "Options": kept.map(|net| net.options.clone()).unwrap_or_default(), "Labels": net.labels(),
    })
}

fn ipam(ipam: &Ipam) -> Value {
    let mut shown = json!({ "Subnet": ipam.subnet.to_string() });
    if let Some(range) = ipam.range {
        shown["IPRange"] = json!(range.to_string());
    }
    if let Some(gateway) = ipam.gateway {
        shown["Gateway"] = json!(gateway);
    }
    if !ipam.aux.is_empty() {
        shown["AuxiliaryAddresses"] = json!(ipam.aux);
    }
    shown
}

/// `NetworkSettings.Networks` of a container.
pub(crate) fn settings(sandbox: &Sandbox) -> Value {
    if sandbox.spec.network == NetworkMode::Endpoints {
        let shown = sandbox.places.iter().map(|place| (place.spec.network.clone(), endpoint(place)));
        return Value::Object(shown.collect());
    }
    if sandbox.spec.network == NetworkMode::Shared {
        return json!({});
    }
    let name = mode(sandbox);
    let ip = sandbox.ip.map(|ip| ip.to_string()).unwrap_or_default();
    json!({ name.clone(): {
        "IPAMConfig": null, "Links": null, "Aliases": null, "NetworkID": id(&name), "EndpointID": "", "Gateway": "",
        "IPAddress": ip, "IPPrefixLen": if ip.is_empty() { 0 } else { 32 }, "IPv6Gateway": "", "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0, "MacAddress": "", "DriverOpts": null, "DNSNames": null, "GwPriority": 0,
    } })
}

fn endpoint(place: &Place) -> Value {
    let (spec, endpoint) = (&place.spec, place.endpoint.as_ref());
    let (v4, v6) = (endpoint.and_then(Endpoint::v4), endpoint.and_then(Endpoint::v6));
    let ip = |address: Option<EndpointAddress>| address.map(|it| it.ip.to_string()).unwrap_or_default();
    let gateway = |address: Option<EndpointAddress>| {
        address.and_then(|it| it.gateway).map(|gateway| gateway.to_string()).unwrap_or_default()
    };
    let text = |ip: Option<std::net::IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    let chosen = match (spec.ip4, spec.ip6) {
        (None, None) if spec.link_local.is_empty() => Value::Null,
        (v4, v6) if spec.link_local.is_empty() => json!({ "IPv4Address": text(v4), "IPv6Address": text(v6) }),
        (v4, v6) => {
            json!({ "IPv4Address": text(v4), "IPv6Address": text(v6), "LinkLocalIPs": spec.link_local })
        }
    };
    let words = |words: &[String]| if words.is_empty() { Value::Null } else { json!(words) };
    let links: Vec<String> =
        spec.links.iter().map(|link| format!("{}:{}", link.container.short(), link.alias)).collect();
    let options = if spec.options.is_empty() { Value::Null } else { json!(spec.options) };
    json!({
        "IPAMConfig": chosen, "Links": words(&links), "Aliases": words(&spec.aliases), "NetworkID": place.network_id,
        "EndpointID": endpoint.map(|it| it.id.as_str()).unwrap_or_default(),
        "Gateway": gateway(v4), "IPAddress": ip(v4), "IPPrefixLen": v4.map_or(0, |it| it.prefix),
        "IPv6Gateway": gateway(v6), "GlobalIPv6Address": ip(v6), "GlobalIPv6PrefixLen": v6.map_or(0, |it| it.prefix),
        "MacAddress": endpoint.map_or(spec.mac.as_str(), |it| it.mac.as_str()),
        "DriverOpts": options, "DNSNames": endpoint.map(|it| it.names.clone()), "GwPriority": spec.priority,
    })
}
