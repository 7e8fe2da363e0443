//! Who we are: ping, version, info.

use crate::DockerState;
use crate::api::{NEWEST, OLDEST};
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{Method, header};
use serde_json::{Value, json};

/// The routes of this module.
pub(crate) fn routes() -> Router<DockerState> {
    Router::new()
        .route("/_ping", get(ping).head(ping))
        .route("/version", get(version))
        .route("/info", get(crate::info::info))
        .route("/system/df", get(crate::df::df))
        .route("/events", get(crate::events::events))
}

/// The commit that this was built from, and its time: what `make release` knows.
const COMMIT: &str = match option_env!("HAKO_COMMIT") {
    Some(commit) => commit,
    None => "",
};
const BUILD_TIME: &str = match option_env!("HAKO_BUILD_TIME") {
    Some(time) => time,
    None => "",
};

pub(crate) fn file(path: &str) -> String {
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

pub(crate) async fn ping(method: Method) -> Response {
    let headers = [
        // BuildKit's protocol; who asks for version 1 gets the classic builder's stream.
        ("Builder-Version", "2"),
        ("Swarm", "inactive"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
    ];
    // Of a HEAD, Docker says that it has no body, not how long that of a GET is.
    let body = if method == Method::HEAD { "" } else { "OK" };
    let mut response = ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response();
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

pub(crate) async fn version(State(state): State<DockerState>) -> Response {
    let details = json!({ "ApiVersion": NEWEST.to_string(), "MinAPIVersion": OLDEST.to_string(), "Arch": architecture(), "Os": "linux", "Experimental": "false",
        "KernelVersion": file("/proc/sys/kernel/osrelease"), "GitCommit": COMMIT, "BuildTime": BUILD_TIME, "GoVersion": "" });
    Json(json!({
        "Platform": { "Name": "Hakobune" },
        "Components": [
            { "Name": "Engine", "Version": &*state.version, "Details": details },
            { "Name": "hako-runtime", "Version": &*state.version, "Details": { "GitCommit": COMMIT } },
        ],
        "Version": &*state.version,
        "ApiVersion": NEWEST.to_string(),
        "MinAPIVersion": OLDEST.to_string(),
        "GitCommit": COMMIT,
        "GoVersion": "",
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": file("/proc/sys/kernel/osrelease"),
        "BuildTime": BUILD_TIME,
    }))
    .into_response()
}

/// Which registries need no TLS.
pub(crate) fn registries(state: &DockerState) -> Value {
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
