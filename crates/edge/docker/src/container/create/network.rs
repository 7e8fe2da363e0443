//! The sandbox's part of a request: network, ports, names, shared namespaces.

use super::super::host::{CreateRequest, HostConfig, NetworkingConfig};
use crate::error::{Failure, invalid, unimplemented};
use hako_container::{Dns, HostEntry, NetworkMode, PortMapping, Protocol, SandboxSpec};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

pub(super) fn sandbox_spec(
    request: &CreateRequest,
    host: &HostConfig,
    exposed: &[String],
) -> Result<SandboxSpec, Failure> {
    let network = network(host, request.networking_config.as_ref())?;
    let ip = |text: &String| {
        text.parse::<IpAddr>().map_err(|_| invalid(format!("dns server {text:?} is not an IP address")))
    };
    Ok(SandboxSpec {
        hostname: request.hostname.clone(),
        network,
        dns: Dns {
            servers: host.dns.iter().flatten().map(ip).collect::<Result<_, _>>()?,
            search: host.dns_search.clone().unwrap_or_default(),
            options: host.dns_options.clone().unwrap_or_default(),
        },
        ports: if network == NetworkMode::Bridge { ports(host, exposed)? } else { Vec::new() },
        sysctls: host.sysctls.clone().unwrap_or_default(),
        shm_size: Some(host.shm_size).filter(|size| *size > 0),
        hosts: host.extra_hosts.iter().flatten().map(|entry| host_entry(entry)).collect::<Result<_, _>>()?,
        host_ipc: match host.ipc_mode.as_str() {
            "" | "private" | "shareable" => false,
            "host" => true,
            mode => {
                return Err(unimplemented(format!("IpcMode {mode:?} is unimplemented: use private or host")));
            }
        },
        host_pid: match host.pid_mode.as_str() {
            "" | "private" => false,
            "host" => true,
            mode => {
                return Err(unimplemented(format!(
                    "PidMode {mode:?} is unimplemented: use host or leave it out"
                )));
            }
        },
        ..SandboxSpec::default()
    })
}

fn network(host: &HostConfig, networking: Option<&NetworkingConfig>) -> Result<NetworkMode, Failure> {
    for (name, endpoint) in
        networking.iter().filter_map(|networking| networking.endpoints_config.as_ref()).flatten()
    {
        for field in ["IPAMConfig", "Links", "Aliases", "MacAddress"] {
            let is_asked = !matches!(&endpoint[field], Value::Null)
                && endpoint[field] != json!("")
                && endpoint[field] != json!([]);
            if is_asked && endpoint[field] != json!({}) {
                return Err(unimplemented(format!(
                    "endpoint field {field} of network {name} is unimplemented: leave it out"
                )));
            }
        }
    }
    match host.network_mode.as_str() {
        "" | "default" | "bridge" => Ok(NetworkMode::Bridge),
        "host" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        other => Err(unimplemented(format!("network {other:?} is unimplemented: use bridge, host or none"))),
    }
}

/// `80/tcp` as number and protocol; without a protocol it is TCP.
fn port(text: &str) -> Result<(u16, Protocol), Failure> {
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

fn ports(host: &HostConfig, exposed: &[String]) -> Result<Vec<PortMapping>, Failure> {
    let mut ports = Vec::new();
    for (inside, bindings) in host.port_bindings.iter().flatten() {
        let (container_port, protocol) = port(inside)?;
        for binding in bindings.iter().flatten() {
            let host_port = match binding.host_port.as_str() {
                "" => 0,
                text => {
                    text.parse().map_err(|_| invalid(format!("host port {text:?} must be 0 to 65535")))?
                }
            };
            let host_ip = match binding.host_ip.as_str() {
                "" => Ipv4Addr::UNSPECIFIED,
                // The CLI asks for both families; the bridge speaks one of them.
                "::" if bindings.iter().flatten().count() > 1 => continue,
                text => text
                    .parse()
                    .map_err(|_| invalid(format!("host address {text:?} is not an IPv4 address")))?,
            };
            ports.push(PortMapping { host_ip, host_port, container_port, protocol });
        }
    }
    if host.publish_all_ports {
        for text in exposed {
            let (container_port, protocol) = port(text)?;
            if !ports.iter().any(|known| (known.container_port, known.protocol) == (container_port, protocol))
            {
                ports.push(PortMapping {
                    host_ip: Ipv4Addr::UNSPECIFIED,
                    host_port: 0,
                    container_port,
                    protocol,
                });
            }
        }
    }
    Ok(ports)
}

fn host_entry(entry: &str) -> Result<HostEntry, Failure> {
    let bad = || invalid(format!("extra host {entry:?} is not NAME:ADDRESS"));
    let (name, ip) = entry.split_once([':', '=']).ok_or_else(bad)?;
    Ok(HostEntry {
        ip: ip.trim_matches(['[', ']']).parse().map_err(|_| bad())?,
        names: vec![name.to_owned()],
    })
}
