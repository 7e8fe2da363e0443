//! `GET /info`: what this engine is and can.

use crate::DockerState;
use crate::api::ApiVersion;
use crate::error::{Answer, Failure, blocking};
use crate::system::{file, memory_total, registries};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_container::{ContainerEngine, ContainerState, Filter};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::Path;

pub(crate) async fn info(State(state): State<DockerState>, version: ApiVersion) -> Answer {
    let mut body = engine(&state).await?;
    let parts = [
        counts(&state).await?,
        devices(&state).await?,
        machine(&state),
        limits(),
        parts(&state.version),
        empty(),
        networks(&state).await?,
    ];
    for part in parts {
        if let (Value::Object(all), Value::Object(part)) = (&mut body, part) {
            all.extend(part);
        }
    }
    if !version.has(50) {
        for name in ["BridgeNfIptables", "BridgeNfIp6tables"] {
            body[name] = json!(false);
        }
    }
    if version.has(49) {
        body["FirewallBackend"] = json!({ "Driver": "nftables" });
    }
    Ok(Json(body).into_response())
}

async fn engine(state: &DockerState) -> Result<Value, Failure> {
    let root = state.images.dir().parent().unwrap_or(state.images.dir()).to_owned();
    let id_file = root.join("engine-id");
    let id = blocking(move || Ok(engine_id(&id_file))).await?;
    Ok(json!({
        "ID": id,
        "ServerVersion": &*state.version,
        "Driver": "overlay",
        "DriverStatus": [["Backing Filesystem", filesystem(&root)], ["Supports d_type", "true"], ["Native Overlay Diff", "true"]],
        "DockerRootDir": root,
        "Plugins": {
            "Volume": ["local"], "Network": ["bridge", "host", "ipvlan", "macvlan", "null"], "Authorization": null, "Log": ["json-file", "local", "none", "syslog"],
        },
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registries(state),
        "LoggingDriver": "json-file",
        "Swarm": { "LocalNodeState": "inactive", "NodeID": "", "NodeAddr": "", "ControlAvailable": false, "Error": "", "RemoteManagers": null },
        "Runtimes": { "hako": { "path": "hako" }, "runc": { "path": "hako" } },
        "DefaultRuntime": "hako",
        "LiveRestoreEnabled": true,
        "NEventsListener": state.events.listeners(),
        "NGoroutines": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
    }))
}

async fn counts(state: &DockerState) -> Result<Value, Failure> {
    let containers = state.engine.containers(&Filter { standalone: Some(true), ..Filter::default() }).await?;
    let paused = containers.iter().filter(|container| container.paused).count();
    let running = containers.iter().filter(|container| container.state.is_running()).count() - paused;
    let images = state.images.clone();
    let images = blocking(move || images.list()).await?.len();
    Ok(json!({
        "Containers": containers.len(),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": containers.iter().filter(|container| !matches!(container.state, ContainerState::Running { .. })).count(),
        "Images": images,
    }))
}

/// Where vendors describe devices, and which they describe.
async fn devices(state: &DockerState) -> Result<Value, Failure> {
    let cdi = state.engine.cdi().clone();
    let paths = cdi.paths().to_vec();
    let found = blocking(move || Ok(cdi.read())).await?;
    let found: Vec<Value> = found.names().map(|name| json!({ "Source": "cdi", "ID": name })).collect();
    Ok(json!({ "CDISpecDirs": paths, "DiscoveredDevices": found }))
}

/// How containers are kept apart from the host.
fn security(state: &DockerState) -> Vec<&'static str> {
    let users = state.engine.users().map(|_| "name=userns");
    ["name=seccomp,profile=builtin"].into_iter().chain(users).chain(["name=cgroupns"]).collect()
}

/// What keeps containers from the world.
async fn networks(state: &DockerState) -> Result<Value, Failure> {
    let networks = state.engine.networks()?;
    let warnings = blocking(move || networks.warnings()).await?;
    Ok(json!({ "Warnings": warnings }))
}

fn machine(state: &DockerState) -> Value {
    let release = file("/etc/os-release");
    json!({
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory_total(),
        "Name": file("/proc/sys/kernel/hostname"),
        "OSType": "linux",
        "OperatingSystem": release_field(&release, "PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
        "OSVersion": release_field(&release, "VERSION_ID").unwrap_or_default(),
        "Architecture": std::env::consts::ARCH,
        "KernelVersion": file("/proc/sys/kernel/osrelease"),
        "SystemTime": Timestamp::now().to_string(),
        "NFd": std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": if is_unified() { "2" } else { "1" },
        "SecurityOptions": security(state),
    })
}

fn limits() -> Value {
    json!({
        "MemoryLimit": true, "SwapLimit": true, "PidsLimit": true, "CPUShares": true, "CPUSet": true,
        "CpuCfsPeriod": true, "CpuCfsQuota": true, "IPv4Forwarding": true, "OomKillDisable": !is_unified(),
    })
}

/// The file system that layers and containers' files are on, in Docker's words.
fn filesystem(root: &Path) -> &'static str {
    let known: [(i128, &str); 6] = [
        (0xEF53, "extfs"),
        (0x5846_5342, "xfs"),
        (0x9123_683E, "btrfs"),
        (0x0102_1994, "tmpfs"),
        (0x2FC1_2FC1, "zfs"),
        (0xF2F5_2010, "f2fs"),
    ];
    let kind = rustix::fs::statfs(root).map(|found| i128::from(found.f_type));
    known.iter().find(|(magic, _)| kind == Ok(*magic)).map_or("<unknown>", |(_, name)| name)
}

/// Runtime and init are parts of this program.
fn parts(version: &str) -> Value {
    let own = json!({ "ID": version, "Expected": version });
    json!({ "InitBinary": "hako", "InitCommit": own, "RuncCommit": own })
}

/// What clients expect to be there, and what there is nothing to say of.
fn empty() -> Value {
    let commit = json!({ "ID": "", "Expected": "" });
    json!({
        "Debug": false, "ExperimentalBuild": false, "HttpProxy": "", "HttpsProxy": "", "NoProxy": "", "Labels": [],
        "GenericResources": null, "ContainerdCommit": commit,
        "DefaultAddressPools": [], "Isolation": "", "ProductLicense": "",
    })
}

fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A value of os-release(5), without its quotes.
fn release_field(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// Drawn once for a data directory; empty where it cannot be kept.
fn engine_id(path: &Path) -> String {
    let known =
        || std::fs::read_to_string(path).ok().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
    if let Some(id) = known() {
        return id;
    }
    let drawn = file("/proc/sys/kernel/random/uuid");
    match std::fs::write(path, &drawn) {
        Ok(()) => known().unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "keep the engine's id");
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_s_name_has_no_quotes() {
        let text = "NAME=Debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID='12'\n";
        assert_eq!(release_field(text, "PRETTY_NAME").unwrap(), "Debian GNU/Linux 12");
        assert_eq!(release_field(text, "VERSION_ID").unwrap(), "12");
        assert_eq!(release_field(text, "BUILD_ID"), None);
    }

    #[test]
    fn an_engine_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine-id");
        let id = engine_id(&path);
        assert!(!id.is_empty() && engine_id(&path) == id);
        assert_eq!(engine_id(&dir.path().join("none/engine-id")), "");
    }
}
