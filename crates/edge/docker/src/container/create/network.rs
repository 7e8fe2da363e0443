//! The sandbox's part of a request: network, ports, names, shared namespaces.

use super::super::host::{CreateRequest, HostConfig};
use crate::DockerState;
use crate::error::{Failure, blocking, invalid};
use crate::network::{EndpointSettings, canonical, endpoint_spec, link};
use hako_container::{Dns, EndpointSpec, HostEntry, Ipc, NetworkMode, PortMapping, Protocol, SandboxSpec};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn sandbox_spec(
    request: &CreateRequest,
    host: &HostConfig,
    exposed: &[String],
    everywhere: &[IpAddr],
) -> Result<SandboxSpec, Failure> {
    check_host_network(host)?;
    let network = match request.network_disabled {
        true => NetworkMode::None,
        false => network(host),
    };
    let host_uts = match host.uts_mode.as_str() {
        "" => false,
        "host" if request.hostname.is_empty() => true,
        "host" => return Err(invalid("conflicting options: hostname and the UTS mode")),
        mode => return Err(invalid(format!("invalid UTS mode: {mode:?}: use host or leave it out"))),
    };
    let ip = |text: &String| {
        text.parse::<IpAddr>().map_err(|_| invalid(format!("dns server {text:?} is not an IP address")))
    };
    check_lines(request, host)?;
    Ok(SandboxSpec {
        hostname: match request.hostname.is_empty() && network == NetworkMode::Host {
            true => crate::system::file("/proc/sys/kernel/hostname"),
            false => request.hostname.clone(),
        },
        own_uts: !host_uts,
        domain: request.domainname.clone(),
        nis_domain: request.domainname.clone(),
        host_uts,
        network,
        dns: Dns {
            servers: host.dns.iter().flatten().map(ip).collect::<Result<_, _>>()?,
            search: host.dns_search.clone().unwrap_or_default(),
            options: host.dns_options.clone().unwrap_or_default(),
        },
        ports: match network {
            NetworkMode::Endpoints => ports(host, exposed, everywhere)?,
            _ => Vec::new(),
        },
        sysctls: host.sysctls.clone().unwrap_or_default(),
        shm_size: Some(host.shm_size).filter(|size| *size > 0),
        hosts: host.extra_hosts.iter().flatten().map(|entry| host_entry(entry)).collect::<Result<_, _>>()?,
        ipc: match host.ipc_mode.as_str() {
            "shareable" => Ipc::Shareable,
            "none" => Ipc::None,
            _ => Ipc::Private,
        },
        host_ipc: is_host("IPC", &host.ipc_mode, &["private", "shareable", "none"])?,
        host_pid: is_host("PID", &host.pid_mode, &["private"])?,
        cgroup_parent: cgroup_parent(&host.cgroup_parent)?,
        ..SandboxSpec::default()
    })
}

/// What programs without capabilities may do in a network of the container's own, as with Docker: listen on every port, and
/// ping where the groups are the host's. Settings that were asked for stay.
pub(super) fn let_ordinary_users(sandbox: &mut SandboxSpec) {
    const PORTS: (&str, &str) = ("net.ipv4.ip_unprivileged_port_start", "0");
    const PING: (&str, &str) = ("net.ipv4.ping_group_range", "0 2147483647");
    if !matches!(sandbox.network, NetworkMode::None | NetworkMode::Endpoints) {
        return;
    }
    for (name, value) in [PORTS, PING].into_iter().take(if sandbox.remapped { 1 } else { 2 }) {
        sandbox.sysctls.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
}

/// These are written into lines of the container's hosts file and resolver's configuration: none may begin a line of its own.
fn check_lines(request: &CreateRequest, host: &HostConfig) -> Result<(), Failure> {
    let lists = [
        ("extra host", &host.extra_hosts),
        ("dns search domain", &host.dns_search),
        ("dns option", &host.dns_options),
    ];
    let lists =
        lists.into_iter().flat_map(|(what, list)| list.iter().flatten().map(move |text| (what, text)));
    let names = [("host name", &request.hostname), ("domain name", &request.domainname)];
    match names.into_iter().chain(lists).find(|(_, text)| text.contains(char::is_control)) {
        Some((what, text)) => Err(invalid(format!("{what} {text:?} has a control character in it"))),
        None => Ok(()),
    }
}

/// Whether a namespace is the host's; `own` are the modes of a namespace of the container's own.
fn is_host(kind: &str, mode: &str, own: &[&str]) -> Result<bool, Failure> {
    match mode {
        "host" => Ok(true),
        "" => Ok(false),
        mode if mode.starts_with("container:") || own.contains(&mode) => Ok(false),
        _ => Err(invalid(format!("invalid {kind} mode: {mode}"))),
    }
}

/// A path of groups, which cannot lead out of the hierarchy or among our own.
fn cgroup_parent(path: &str) -> Result<String, Failure> {
    let mut parts = path.trim_matches('/').split('/');
    let is_bad = |part: &str| part == "." || part == ".." || part.starts_with("hako-") || part.contains('\0');
    match parts.any(is_bad) {
        true => Err(invalid(format!("invalid cgroup parent: {path:?}"))),
        false => Ok(path.to_owned()),
    }
}

/// What belongs to a network of its own does not go with the host's.
fn check_host_network(host: &HostConfig) -> Result<(), Failure> {
    match host.network_mode == "host" && host.links.iter().flatten().next().is_some() {
        true => Err(invalid(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        )),
        false => Ok(()),
    }
}

/// dockerd's warning about ports of a container that has the host's network.
pub(super) fn discarded_ports(host: &HostConfig) -> Option<String> {
    let asks = host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    (host.network_mode == "host" && asks)
        .then(|| "Published ports are discarded when using host network mode".to_owned())
}

fn network(host: &HostConfig) -> NetworkMode {
    match host.network_mode.as_str() {
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        shared if shared.starts_with("container:") => NetworkMode::Shared,
        _ => NetworkMode::Endpoints,
    }
}

/// The networks that the container is to be connected to, that of its mode first. A network that does not exist is
/// told by the start, as Docker does.
pub(super) async fn endpoints(
    state: &DockerState,
    request: &CreateRequest,
    host: &HostConfig,
) -> Result<Vec<EndpointSpec>, Failure> {
    let main = canonical(state, &host.network_mode).await?;
    let mut settings: Vec<(String, EndpointSettings)> = vec![(main.clone(), EndpointSettings::default())];
    let config =
        request.networking_config.as_ref().and_then(|networking| networking.endpoints_config.clone());
    for (name, value) in config.unwrap_or_default() {
        let parsed: Option<EndpointSettings> = serde_json::from_value(value)
            .map_err(|error| invalid(format!("endpoint of network {name}: {error}")))?;
        let name = canonical(state, &name).await?;
        match settings.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = parsed.unwrap_or_default(),
            None => settings.push((name, parsed.unwrap_or_default())),
        }
    }
    let own = &mut settings[0].1.mac_address;
    match request.mac_address.as_str() {
        "" => {}
        mac if own.is_empty() || own == mac => *own = mac.to_owned(),
        _ => return Err(invalid("conflicting MAC addresses of the container and of its endpoint")),
    }
    let mut endpoints = Vec::new();
    for (name, settings) in settings {
        endpoints.push(endpoint_spec(state, &name, settings).await?);
    }
    for text in host.links.iter().flatten() {
        endpoints[0].links.push(link(state, text).await?);
    }
    Ok(endpoints)
}

/// The address that `host-gateway` stands for: the host's own on the default network.
pub(super) async fn resolve_host_gateway(state: &DockerState, host: &mut HostConfig) -> Result<(), Failure> {
    const WORD: &str = "host-gateway";
    let is_asked = |entry: &String| entry.ends_with(WORD);
    if !host.extra_hosts.iter().flatten().any(is_asked) {
        return Ok(());
    }
    let networks = state.engine.networks()?;
    let net = blocking(move || networks.default_network()).await?;
    let gateway = net.ipam.iter().find_map(|ipam| ipam.gateway).map(|ip| ip.to_string()).unwrap_or_default();
    for entry in host.extra_hosts.iter_mut().flatten().filter(|entry| is_asked(entry)) {
        *entry = entry.replace(WORD, &gateway);
    }
    Ok(())
}

/// The host's addresses that ports without one are published on: what the network says, else all of every family that
/// this machine has.
pub(crate) async fn everywhere(state: &DockerState, network: &str) -> Result<Vec<IpAddr>, Failure> {
    let networks = state.engine.networks()?;
    let name = canonical(state, network).await?;
    let net = networks.find(&name).ok();
    let said = net.and_then(|net| net.options.get(HOST_BINDING)?.parse::<IpAddr>().ok());
    match said.filter(|ip| !ip.is_unspecified()) {
        Some(ip) => Ok(vec![ip]),
        None if hako_network::has_ipv6() => Ok(EVERYWHERE.to_vec()),
        None => Ok(EVERYWHERE[..1].to_vec()),
    }
}

const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
const EVERYWHERE: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// A port of the host, or the first and last of a range to pick one from; none picks any.
fn host_ports(text: &str) -> Result<(u16, u16), Failure> {
    let bad = || invalid(format!("invalid host port {text:?}: it must be 0 to 65535, or a range of them"));
    let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
    match text.split_once('-') {
        _ if text.is_empty() => Ok((0, 0)),
        None => Ok((number(text)?, 0)),
        Some((first, last)) => match (number(first)?, number(last)?) {
            (first, last) if first > 0 && first <= last => Ok((first, last)),
            _ => Err(bad()),
        },
    }
}

/// `80/tcp` as number and protocol; without a protocol it is TCP.
pub(super) fn port(text: &str) -> Result<(u16, Protocol), Failure> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(invalid(format!("port {text:?}: the protocol must be tcp, udp or sctp"))),
    };
    let number = number.parse().ok().filter(|number| *number > 0);
    Ok((number.ok_or_else(|| invalid(format!("port {text:?} must be 1 to 65535")))?, protocol))
}

/// The ports that a request publishes; those without an address of the host on each of `everywhere`.
pub(crate) fn ports(
    host: &HostConfig,
    exposed: &[String],
    everywhere: &[IpAddr],
) -> Result<Vec<PortMapping>, Failure> {
    let mut ports = Vec::new();
    for (inside, bindings) in host.port_bindings.iter().flatten() {
        let (container_port, protocol) = port(inside)?;
        for binding in bindings.iter().flatten() {
            let (host_port, host_port_last) = host_ports(&binding.host_port)?;
            for host_ip in host_ips(&binding.host_ip, everywhere)? {
                ports.push(PortMapping { host_ip, host_port, host_port_last, container_port, protocol });
            }
        }
    }
    for text in exposed.iter().filter(|_| host.publish_all_ports) {
        let (container_port, protocol) = port(text)?;
        let is_known =
            |known: &PortMapping| (known.container_port, known.protocol) == (container_port, protocol);
        if ports.iter().any(is_known) {
            continue;
        }
        for &host_ip in everywhere {
            ports.push(PortMapping { host_ip, host_port: 0, host_port_last: 0, container_port, protocol });
        }
    }
    Ok(ports)
}

fn host_ips(text: &str, everywhere: &[IpAddr]) -> Result<Vec<IpAddr>, Failure> {
    if text.is_empty() {
        return Ok(everywhere.to_vec());
    }
    let ip = text.trim_matches(['[', ']']).parse();
    Ok(vec![ip.map_err(|_| invalid(format!("invalid host address {text:?} of a published port")))?])
}

fn host_entry(entry: &str) -> Result<HostEntry, Failure> {
    let bad = || invalid(format!("extra host {entry:?} is not NAME:ADDRESS"));
    let (name, ip) = entry.split_once([':', '=']).ok_or_else(bad)?;
    Ok(HostEntry {
        ip: ip.trim_matches(['[', ']']).parse().map_err(|_| bad())?,
        names: vec![name.to_owned()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn published(bindings: serde_json::Value, everywhere: &[IpAddr]) -> Result<Vec<String>, String> {
        let host: HostConfig = serde_json::from_value(json!({ "PortBindings": bindings })).unwrap();
        let ports = ports(&host, &[], everywhere).map_err(|failure| failure.0.to_string())?;
        let text =
            |port: &PortMapping| format!("{}/{}-{}", port.host_ip, port.host_port, port.host_port_last);
        Ok(ports.iter().map(text).collect())
    }

    #[test]
    fn a_port_without_an_address_is_on_every_family_and_one_with_is_on_that_alone() {
        let one = |ip: &str| json!({ "80/tcp": [{ "HostIp": ip, "HostPort": "8000-8010" }] });
        assert_eq!(published(one(""), &EVERYWHERE).unwrap(), ["0.0.0.0/8000-8010", "::/8000-8010"]);
        assert_eq!(published(one(""), &EVERYWHERE[..1]).unwrap(), ["0.0.0.0/8000-8010"]);
        for ip in ["::1", "[::1]", "::", "127.0.0.1"] {
            let shown = format!("{}/8000-8010", ip.trim_matches(['[', ']']));
            assert_eq!(published(one(ip), &EVERYWHERE).unwrap(), [shown]);
        }
        assert!(published(one("localhost"), &EVERYWHERE).unwrap_err().contains("localhost"));
        let sctp = json!({ "9/sctp": [{ "HostPort": "9" }] });
        assert_eq!(published(sctp, &EVERYWHERE).unwrap(), ["0.0.0.0/9-0", "::/9-0"]);
    }
}
