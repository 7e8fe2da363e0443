//! `GET /containers/{id}/json`.

use super::REQUEST;
use super::health::HEALTH;
use crate::api::ApiVersion;
use crate::error::{Answer, Failure};
use crate::params::Params;
use crate::{DockerState, human, network};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use hako_container::{Container, ContainerEngine, ContainerState, RestartPolicy, Sandbox};
use hako_container::{MASKED_PATHS, READ_ONLY_PATHS};
use hako_names::ContainerId;
use serde_json::{Map, Value, json};

const NEVER: &str = "0001-01-01T00:00:00Z";

pub(crate) async fn inspect(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
    version: ApiVersion,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let container = state.engine.container(&id).await?;
    let sandbox = state.engine.sandbox(&container.sandbox).await.ok();
    let request = request(&container);
    let resolved = &container.resolved;
    let [hosts, hostname, resolv_conf] = state.engine.sandbox_files(&container.sandbox)?;
    let mut shown = json!({
        "Id": container.id,
        "Created": container.created_at.to_string(),
        "Path": resolved.argv.first(),
        "Args": resolved.argv.get(1..).unwrap_or_default(),
        "State": state_json(&container, state.health.inspect(&container)),
        "Image": resolved.image_id,
        "ResolvConfPath": resolv_conf, "HostnamePath": hostname, "HostsPath": hosts,
        "LogPath": container.log_path.as_deref().unwrap_or(std::path::Path::new("")),
        "Name": format!("/{}", container.spec.name),
        "RestartCount": container.restart_count,
        "Driver": "overlay", "Platform": "linux", "MountLabel": "", "ProcessLabel": "", "AppArmorProfile": "", "ExecIDs": crate::exec::running(&state, &id),
        "HostConfig": host_config(&container, &request, sandbox.as_ref()),
        "GraphDriver": crate::graph::of_container(&state.images, &container),
        "Mounts": super::mounted::mounts(&state, &container, || request.clone()),
        "Config": config(&container, &request),
        "NetworkSettings": network_settings(&container, sandbox.as_ref()),
    });
    shown["HostConfig"]["Links"] = links(&state, &container, sandbox.as_ref()).await;
    if !version.has(45) {
        alias_by_id(&mut shown["NetworkSettings"]["Networks"], id.short());
    }
    if params.flag("size") {
        let (written, whole) = super::sizes(&state, &id, &container.resolved.image_id).await?;
        shown["SizeRw"] = json!(written);
        shown["SizeRootFs"] = json!(whole);
    }
    Ok(Json(shown).into_response())
}

/// The links that a container has in the default network now, as dockerd names them; those of other networks are told there.
async fn links(state: &DockerState, container: &Container, sandbox: Option<&Sandbox>) -> Value {
    let places = sandbox.iter().flat_map(|sandbox| &sandbox.places);
    let mut shown = Vec::new();
    for link in places.filter(|place| place.spec.network == "bridge").flat_map(|place| &place.spec.links) {
        if let Ok(other) = state.engine.container(&link.container).await {
            shown.push(format!("/{}:/{}/{}", other.spec.name, container.spec.name, link.alias));
        }
    }
    if shown.is_empty() { Value::Null } else { json!(shown) }
}

/// Until API 1.45 the short id was one of the aliases in networks with names; compose's first version connects anew where it is
/// not.
fn alias_by_id(networks: &mut Value, short: &str) {
    let networks = networks.as_object_mut().into_iter().flatten();
    for (_, network) in networks.filter(|(name, _)| !["bridge", "host", "none"].contains(&name.as_str())) {
        match &mut network["Aliases"] {
            Value::Array(aliases) => aliases.push(json!(short)),
            none => *none = json!([short]),
        }
    }
}

/// The `HostConfig` that inspect shows.
pub(super) async fn host(state: &DockerState, id: &ContainerId) -> Result<Value, Failure> {
    let container = state.engine.container(id).await?;
    let sandbox = state.engine.sandbox(&container.sandbox).await.ok();
    Ok(host_config(&container, &request(&container), sandbox.as_ref()))
}

/// The request that made it.
pub(super) fn request(container: &Container) -> Value {
    let text = container.spec.annotations.get(REQUEST);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn state_json(container: &Container, health: Option<Value>) -> Value {
    let (pid, started, running) = match &container.state {
        ContainerState::Running { pid, started_at } => (*pid, Some(*started_at), true),
        ContainerState::Exited(exit) => (0, exit.started_at, false),
        ContainerState::Created => (0, None, false),
    };
    let exit = container.state.exit();
    let time = |time: Option<jiff::Timestamp>| time.map_or_else(|| NEVER.to_owned(), |time| time.to_string());
    let mut shown = json!({
        "Status": human::state(container),
        "Running": running || container.restarting, "Paused": container.paused, "Restarting": container.restarting,
        "OOMKilled": exit.is_some_and(|exit| exit.oom_killed), "Dead": false, "Pid": pid,
        "ExitCode": exit.map_or(0, |exit| exit.code),
        "Error": exit.and_then(|exit| exit.error.clone()).unwrap_or_default(),
        "StartedAt": time(started),
        "FinishedAt": time(container.ended_at),
    });
    if let Some(health) = health {
        shown["Health"] = health;
    }
    shown
}

/// What was asked for, with what it came to on top.
fn config(container: &Container, request: &Value) -> Value {
    let mut config: Map<String, Value> = request.as_object().cloned().unwrap_or_default();
    config.remove("HostConfig");
    config.remove("NetworkingConfig");
    let resolved = &container.resolved;
    let words = |words: &[String]| if words.is_empty() { Value::Null } else { json!(words) };
    let exposed: Map<String, Value> =
        resolved.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
    let overlay = [
        ("Image", json!(container.spec.image_as_written())),
        ("Entrypoint", words(&resolved.entrypoint)),
        ("Cmd", words(&resolved.cmd)),
        ("Env", json!(resolved.env)),
        ("WorkingDir", json!(resolved.working_dir)),
        ("User", json!(resolved.user)),
        ("Labels", json!(resolved.labels)),
        ("Tty", json!(container.spec.tty)),
        ("OpenStdin", json!(container.spec.stdin)),
        ("StdinOnce", json!(container.spec.stdin_once)),
    ];
    for (name, value) in overlay {
        config.insert(name.to_owned(), value);
    }
    if let Some(check) = container.spec.annotations.get(HEALTH) {
        config.insert("Healthcheck".to_owned(), serde_json::from_str(check).unwrap_or_default());
    }
    if config.get("Hostname").is_none_or(|name| name == "") {
        config.insert("Hostname".to_owned(), json!(container.id.short()));
    }
    let exposes = config.entry("ExposedPorts").or_insert_with(|| json!({}));
    if exposes.is_null() {
        *exposes = json!({});
    }
    if let Value::Object(ports) = exposes {
        ports.extend(exposed);
    }
    Value::Object(config)
}

fn host_config(container: &Container, request: &Value, sandbox: Option<&Sandbox>) -> Value {
    let mut host: Map<String, Value> = defaults()
        .iter()
        .filter_map(Value::as_object)
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let asked = request["HostConfig"].as_object().cloned().unwrap_or_default();
    host.extend(asked.into_iter().filter(|(_, value)| !value.is_null()));
    let log_type = match request["HostConfig"]["LogConfig"]["Type"].as_str() {
        None | Some("") => "json-file",
        Some(name) => name,
    };
    let log_options = request["HostConfig"]["LogConfig"]["Config"].as_object().cloned().unwrap_or_default();
    if host["ShmSize"] == 0 {
        host.insert("ShmSize".into(), json!(64 << 20));
    }
    // What was asked for is that nothing be changed.
    if host["MemorySwappiness"] == -1 {
        host.insert("MemorySwappiness".into(), Value::Null);
    }
    for (name, usual) in [("MaskedPaths", &MASKED_PATHS[..]), ("ReadonlyPaths", &READ_ONLY_PATHS)] {
        if host.get(name).is_none_or(Value::is_null) {
            host.insert(name.into(), if container.spec.privileged { Value::Null } else { json!(usual) });
        }
    }
    for (name, usual) in [("IpcMode", "private"), ("CgroupnsMode", "private"), ("Runtime", "hako")] {
        if host[name] == "" {
            host.insert(name.into(), json!(usual));
        }
    }
    let (policy, retries) = match container.spec.restart {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { max_retries } => ("on-failure", max_retries),
    };
    let overlay = [
        ("NetworkMode", json!(sandbox.map_or_else(|| "bridge".to_owned(), network::mode))),
        ("RestartPolicy", json!({ "Name": policy, "MaximumRetryCount": retries })),
        ("AutoRemove", json!(container.spec.auto_remove)),
        ("Privileged", json!(container.spec.privileged)),
        ("ReadonlyRootfs", json!(container.spec.read_only_rootfs)),
        ("LogConfig", json!({ "Type": log_type, "Config": log_options })),
    ];
    for (name, value) in super::create::shown(&container.spec.resources).into_iter().chain(overlay) {
        host.insert(name.to_owned(), value);
    }
    Value::Object(host)
}

/// What a HostConfig is that asks for nothing.
fn defaults() -> [Value; 2] {
    let resources = json!({
        "CpuShares": 0, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0,
        "BlkioWeightDevice": [], "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [], "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [], "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0,
        "CpusetCpus": "", "CpusetMems": "", "Devices": [], "DeviceCgroupRules": null, "DeviceRequests": null,
        "MemoryReservation": 0, "MemorySwap": 0, "MemorySwappiness": null, "OomKillDisable": null, "PidsLimit": null,
        "Ulimits": [], "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0,
    });
    let rest = json!({
        "Binds": null, "ContainerIDFile": "", "PortBindings": {}, "VolumeDriver": "", "VolumesFrom": null, "ConsoleSize": [0, 0],
        "CapAdd": null, "CapDrop": null, "CgroupnsMode": "private", "Dns": [], "DnsOptions": [], "DnsSearch": [],
        "ExtraHosts": null, "GroupAdd": null, "IpcMode": "private", "Cgroup": "", "Links": null, "OomScoreAdj": 0,
        "PidMode": "", "PublishAllPorts": false, "SecurityOpt": null, "UTSMode": "", "UsernsMode": "", "ShmSize": 64 << 20,
        "Runtime": "hako", "Isolation": "",
    });
    [resources, rest]
}

/// Whether it has addresses of its own that somebody could reach its ports by.
fn has_ports(container: &Container, sandbox: Option<&Sandbox>) -> bool {
    container.state.is_running() && sandbox.is_some_and(|sandbox| !sandbox.places.is_empty())
}

fn network_settings(container: &Container, sandbox: Option<&Sandbox>) -> Value {
    // What is exposed and not published leads nowhere.
    let exposed = container.resolved.exposed_ports.iter();
    let mut ports: Map<String, Value> = match has_ports(container, sandbox) {
        true => exposed.map(|port| (port.clone(), Value::Null)).collect(),
        false => Map::new(),
    };
    for port in sandbox.iter().flat_map(|sandbox| &sandbox.ports) {
        let key = format!("{}/{}", port.container_port, port.protocol.as_str());
        // Of a routed network no port of the host is taken.
        let host_port = if port.host_port == 0 { String::new() } else { port.host_port.to_string() };
        let binding = json!({ "HostIp": port.host_ip, "HostPort": host_port });
        match ports.entry(key).or_insert(Value::Null) {
            Value::Array(bindings) => bindings.push(binding),
            none => *none = json!([binding]),
        }
    }
    let networks = sandbox.map_or_else(|| json!({}), network::settings);
    // What clients before API 1.21 know of: the default network.
    let main = &networks["bridge"];
    let ip = main["IPAddress"].as_str().unwrap_or_default();
    json!({
        "Bridge": "", "SandboxID": sandbox.map(|sandbox| sandbox.id.to_string()).unwrap_or_default(),
        "SandboxKey": sandbox.and_then(|sandbox| sandbox.netns.clone()).unwrap_or_default(),
        "Ports": ports, "IPAddress": ip, "IPPrefixLen": main["IPPrefixLen"].as_u64().unwrap_or(0),
        "Gateway": main["Gateway"].as_str().unwrap_or_default(), "MacAddress": main["MacAddress"].as_str().unwrap_or_default(),
        "EndpointID": main["EndpointID"].as_str().unwrap_or_default(), "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
        "IPv6Gateway": "", "HairpinMode": false, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null, "SecondaryIPv6Addresses": null, "Networks": networks,
    })
}
