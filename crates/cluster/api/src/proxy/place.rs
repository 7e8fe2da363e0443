//! From a name in a path, `[https:]NAME[:PORT]`, to an address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hako_kube::Status;
use hako_store::Range;
use serde_json::Value;

use crate::http::{Failure, Outcome};
use crate::kinds;
use crate::node_proxy;
use crate::resource::{Target, registry_prefix};
use crate::server::Inner;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub address: SocketAddr,
    pub security: Security,
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    Plain,
    /// TLS, with any certificate.
    Unverified,
    /// TLS as with a node's own API.
    Node,
}

/// The parts of a name.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    is_secure: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Name<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] if *name != "http" && *name != "https" => ("", *name, *port),
            [scheme, name] => (*scheme, *name, ""),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return None,
        };
        let is_known = matches!(scheme, "" | "http" | "https") && !name.is_empty();
        is_known.then_some(Self { is_secure: scheme == "https", name, port })
    }

    fn security(&self) -> Security {
        if self.is_secure { Security::Unverified } else { Security::Plain }
    }
}

/// The address that a target of `proxy` means.
pub(super) async fn of(server: &Inner, target: &Target) -> Outcome<Place> {
    let name = Name::parse(&target.name).ok_or_else(|| invalid(&target.name))?;
    let object = Target { name: name.name.to_owned(), ..target.clone() };
    let entry = object.read(&*server.config.store).await?;
    let value: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    match &*target.row.plural {
        "nodes" => of_node(server, &name).await,
        "pods" => of_pod(server, &name, &value),
        _ => of_service(server, &name, &object, &value).await,
    }
}

/// Where a port of a service is.
pub(crate) enum Endpoint {
    /// At a ready endpoint.
    Address(SocketAddr),
    /// Outside, under a name.
    Host(String),
}

/// Where a port of a service is, for calls of our own.
pub(crate) async fn endpoint(server: &Inner, namespace: &str, name: &str, port: u16) -> Outcome<Endpoint> {
    let row = kinds::by_resource("", "v1", "services").ok_or_else(Failure::no_such_path)?;
    let target = Target { row: Arc::clone(row), namespace: namespace.to_owned(), name: name.to_owned() };
    let entry = target.read(&*server.config.store).await?;
    let service: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    if service.pointer("/spec/type").is_some_and(|it| it == "ExternalName") {
        let host = service.pointer("/spec/externalName").and_then(Value::as_str).unwrap_or("");
        return Ok(Endpoint::Host(host.to_owned()));
    }
    let port = port.to_string();
    let name = Name { is_secure: true, name, port: &port };
    Ok(Endpoint::Address(of_service(server, &name, &target, &service).await?.address))
}

fn invalid(name: &str) -> Failure {
    Failure::bad_request(format!("invalid name {name:?}: expected [http:|https:]NAME[:PORT]"))
}

async fn of_node(server: &Inner, name: &Name<'_>) -> Outcome<Place> {
    let node = node_proxy::node_address(server, name.name).await?;
    let own = SocketAddr::new(node.ip, node.port);
    let port = match name.port {
        "" => node.port,
        port => port.parse().map_err(|_| Failure::bad_request(format!("invalid port {port:?}")))?,
    };
    if port == node.port {
        return Ok(Place { address: own, security: Security::Node });
    }
    Ok(Place { address: SocketAddr::new(node.ip, port), security: name.security() })
}

fn of_pod(server: &Inner, name: &Name<'_>, pod: &Value) -> Outcome<Place> {
    let ip = pod.pointer("/status/podIP").and_then(Value::as_str).and_then(|ip| ip.parse().ok());
    let ip = ip.ok_or_else(|| Failure::bad_request(format!("pod {:?} has no address yet", name.name)))?;
    let first = || {
        let containers = pod.pointer("/spec/containers")?.as_array()?;
        let mut ports = containers.iter().filter_map(|one| one.get("ports")?.as_array()).flatten();
        ports.next()?.get("containerPort")?.as_u64()
    };
    let default = if name.is_secure { 443 } else { 80 };
    let port = match name.port {
        "" => first().and_then(|port| u16::try_from(port).ok()).unwrap_or(default),
        port => port.parse().map_err(|_| Failure::bad_request(format!("invalid port {port:?}")))?,
    };
    allowed(server, ip)?;
    Ok(Place { address: SocketAddr::new(ip, port), security: name.security() })
}

async fn of_service(server: &Inner, name: &Name<'_>, target: &Target, service: &Value) -> Outcome<Place> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let named = |port: &&Value| port.get("name").and_then(Value::as_str).unwrap_or("") == name.port;
    let numbered = |port: &&Value| {
        port.get("port").and_then(Value::as_u64).is_some_and(|number| number.to_string() == name.port)
    };
    let found = match (name.port, ports) {
        ("", [only]) => Some(only),
        _ => ports.iter().find(named).or_else(|| ports.iter().find(numbered)),
    };
    let Some(port) = found else {
        let text = format!("no service port {:?} found for service {:?}", name.port, name.name);
        return Err(unavailable(text));
    };
    let port_name = port.get("name").and_then(Value::as_str).unwrap_or("");
    let addresses = endpoints(server, &target.namespace, name.name, port_name).await?;
    if addresses.is_empty() {
        return Err(unavailable(format!("no endpoints available for service {:?}", name.name)));
    }
    let turn = server.counts.requests.load(Ordering::Relaxed) % addresses.len() as u64;
    let address = addresses[usize::try_from(turn).unwrap_or(0)];
    allowed(server, address.ip())?;
    Ok(Place { address, security: name.security() })
}

/// The ready addresses behind a port of a service.
async fn endpoints(server: &Inner, namespace: &str, service: &str, port: &str) -> Outcome<Vec<SocketAddr>> {
    let slices = slices(server, namespace, service).await?;
    let mut found: Vec<SocketAddr> = slices.iter().flat_map(|slice| ready(slice, port)).collect();
    found.sort();
    Ok(found)
}

/// The EndpointSlices of a service.
pub(crate) async fn slices(server: &Inner, namespace: &str, service: &str) -> Outcome<Vec<Value>> {
    let row =
        kinds::by_resource("discovery.k8s.io", "v1", "endpointslices").ok_or_else(Failure::no_such_path)?;
    let page = server.config.store.range(Range::all(registry_prefix(row, namespace))).await?;
    let mut found = Vec::new();
    for entry in &page.entries {
        let slice: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        let label =
            slice.pointer("/metadata/labels").and_then(|labels| labels.get("kubernetes.io/service-name"));
        if label.and_then(Value::as_str) == Some(service) {
            found.push(slice);
        }
    }
    Ok(found)
}

/// The addresses of a slice that are ready, with the number of the port of that name.
pub(crate) fn ready(slice: &Value, port: &str) -> Vec<SocketAddr> {
    let list =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let number = list(slice, "ports").into_iter().find_map(|one| {
        let is_it = one.get("name").and_then(Value::as_str).unwrap_or("") == port;
        u16::try_from(one.get("port")?.as_u64().filter(|_| is_it)?).ok()
    });
    let Some(number) = number else { return Vec::new() };
    let is_ready = |one: &Value| one.pointer("/conditions/ready") != Some(&Value::Bool(false));
    let ready = list(slice, "endpoints").into_iter().filter(is_ready);
    let addresses = ready.flat_map(|one| list(&one, "addresses"));
    addresses.filter_map(|ip| Some(SocketAddr::new(ip.as_str()?.parse().ok()?, number))).collect()
}

/// Whoever may write the status of pods or endpoints must not reach what only this machine may reach.
fn allowed(server: &Inner, ip: IpAddr) -> Outcome<()> {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let is_own = ip.is_loopback() && !server.config.proxies_to_loopback;
    if is_own || is_link_local || ip.is_unspecified() || ip.is_multicast() {
        return Err(Failure::bad_request(format!("address not allowed: {ip}")));
    }
    Ok(())
}

fn unavailable(text: String) -> Failure {
    Status::failure(503, "ServiceUnavailable", text).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_have_a_scheme_and_a_port_or_not() {
        let of = |text| Name::parse(text).map(|name| (name.is_secure, name.name, name.port));
        assert_eq!(of("web"), Some((false, "web", "")));
        assert_eq!(of("web:8080"), Some((false, "web", "8080")));
        assert_eq!(of("https:web"), Some((true, "web", "")));
        assert_eq!(of("https:web:main"), Some((true, "web", "main")));
        assert_eq!(of("http:web:"), Some((false, "web", "")));
        for bad in ["", "ftp:web:1", "a:b:c:d", "https:"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_ready_endpoints_of_the_port_are_taken() {
        let slice = json!({
            "ports": [{ "name": "main", "port": 80 }, { "name": "other", "port": 81 }],
            "endpoints": [
                { "addresses": ["10.0.0.1"], "conditions": { "ready": true } },
                { "addresses": ["10.0.0.2"], "conditions": { "ready": false } },
                { "addresses": ["10.0.0.3"] },
            ],
        });
        let expected: Vec<SocketAddr> =
            ["10.0.0.1:81", "10.0.0.3:81"].iter().map(|one| one.parse().unwrap()).collect();
        assert_eq!(ready(&slice, "other"), expected);
        assert_eq!(ready(&slice, "none"), []);
    }
}
