//! Who we are: ping, version, info.

use crate::DockerState;
use crate::error::{Answer, blocking};
use crate::server::{API_VERSION, MIN_API_VERSION};
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hako_container::{ContainerEngine, ContainerState, Filter};
use http::header;
use serde_json::{Value, json};

/// The routes of this module.
pub(crate) fn routes() -> Router<DockerState> {
    Router::new()
        .route("/_ping", get(ping).head(ping))
        .route("/version", get(version))
        .route("/info", get(info))
        .route("/system/df", get(crate::df::df))
        .route("/events", get(crate::events::events))
}

fn text((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// This machine's in Go's words.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(crate) async fn ping() -> Response {
    let headers = [
        ("Api-Version", text(API_VERSION)),
        ("Ostype", "linux".into()),
        ("Docker-Experimental", "false".into()),
        // The classic builder: the one whose stream we speak.
        ("Builder-Version", "1".into()),
        ("Cache-Control", "no-cache, no-store, must-revalidate".into()),
        ("Pragma", "no-cache".into()),
    ];
    let mut response = ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "OK").into_response();
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

pub(crate) async fn version(State(state): State<DockerState>) -> Response {
    let details = json!({ "ApiVersion": text(API_VERSION), "MinAPIVersion": text(MIN_API_VERSION), "Arch": architecture(), "Os": "linux", "Experimental": "false" });
    Json(json!({
        "Platform": { "Name": "Hakobune" },
        "Components": [{ "Name": "Engine", "Version": &*state.version, "Details": details }],
        "Version": &*state.version,
        "ApiVersion": text(API_VERSION),
        "MinAPIVersion": text(MIN_API_VERSION),
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": file("/proc/sys/kernel/osrelease"),
        "BuildTime": "",
    }))
    .into_response()
}

pub(crate) async fn info(State(state): State<DockerState>) -> Answer {
    let containers = state.engine.containers(&Filter { standalone: Some(true), ..Filter::default() }).await?;
    let paused = containers.iter().filter(|container| container.paused).count();
    let running = containers.iter().filter(|container| container.state.is_running()).count() - paused;
    let created = containers.iter().filter(|container| container.state == ContainerState::Created).count();
    let images = state.images.clone();
    let images = blocking(move || images.list()).await?.len();
    let memory = memory_total();
    let body: Value = json!({
        "ID": "",
        "Containers": containers.len(),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": containers.len() - running - paused - created,
        "Images": images,
        "Driver": "overlay",
        "DriverStatus": [],
        "DockerRootDir": state.images.dir().parent().unwrap_or(state.images.dir()),
        "Plugins": { "Volume": ["local"], "Network": ["bridge", "host", "null"], "Log": ["json-file"] },
        "MemoryLimit": true, "SwapLimit": true, "PidsLimit": true, "CPUShares": true, "CPUSet": true,
        "CpuCfsPeriod": true, "CpuCfsQuota": true, "IPv4Forwarding": true,
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory,
        "Name": file("/proc/sys/kernel/hostname"),
        "ServerVersion": &*state.version,
        "OSType": "linux",
        "OperatingSystem": "Linux",
        "Architecture": std::env::consts::ARCH,
        "KernelVersion": file("/proc/sys/kernel/osrelease"),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registries(&state),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "2" } else { "1" },
        "Swarm": { "LocalNodeState": "inactive", "NodeID": "", "NodeAddr": "", "ControlAvailable": false },
        "Runtimes": { "hako": { "path": "hako" } },
        "DefaultRuntime": "hako",
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "Labels": [],
        "Warnings": [],
    });
    Ok(Json(body).into_response())
}

/// Which registries need no TLS.
fn registries(state: &DockerState) -> Value {
    let (mut ranges, names) = state.insecure.ranges_and_names();
    let loopback = ["::1/128", "127.0.0.0/8"].map(str::to_owned);
    ranges.extend(&loopback);
    let index = |name: &str, official: bool| json!({ "Name": name, "Mirrors": [], "Secure": official, "Official": official });
    let mut indexes = serde_json::Map::from_iter([("docker.io".to_owned(), index("docker.io", true))]);
    indexes.extend(names.into_iter().map(|name| (name.clone(), index(name, false))));
    json!({ "InsecureRegistryCIDRs": ranges, "IndexConfigs": indexes, "Mirrors": [] })
}

/// Bytes of the machine's memory.
pub(crate) fn memory_total() -> u64 {
    let kib =
        |line: &str| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok();
    file("/proc/meminfo").lines().find_map(kib).map_or(0, |kib| kib * 1024)
}
