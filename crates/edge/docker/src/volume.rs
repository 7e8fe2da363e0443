//! Volumes of the one driver there is.

use crate::container::body::JsonBody;
use crate::error::{Answer, Failure, blocking, invalid, unimplemented};
use crate::named::Named;
use crate::params::Params;
use crate::{DockerState, sizes};
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use hako_container::Volume;
use hako_error::Kind;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The routes of this module.
pub(crate) fn routes() -> Router<DockerState> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", one().post(create))
        .route("/volumes/prune", one().post(prune))
        .route("/volumes/{name}", one())
}

/// One volume, whatever its name.
fn one() -> MethodRouter<DockerState> {
    get(inspect).delete(remove)
}

pub(crate) fn json(volume: &Volume) -> Value {
    json!({
        "Name": volume.name, "Driver": "local", "Mountpoint": volume.path, "CreatedAt": volume.created_at.to_string(),
        "Labels": volume.labels, "Scope": "local", "Options": if volume.options.is_empty() { Value::Null } else { json!(volume.options) },
    })
}

pub(crate) async fn list(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&["name", "label", "label!", "driver", "dangling"])?;
    let (names, dangling) = (filters.patterns("name")?, filters.dangling()?);
    let used = state.engine.used_volumes();
    let volumes = state.engine.volumes()?;
    let shown: Vec<Value> = volumes
        .iter()
        .filter(|volume| {
            let is_dangling = !used.contains(&volume.name);
            names.hold(&volume.name)
                && filters.any("driver", |driver| driver == "local")
                && dangling.is_none_or(|wanted| wanted == is_dangling)
                && filters.labels(&volume.labels)
        })
        .map(json)
        .collect();
    Ok(Json(json!({ "Volumes": shown, "Warnings": [] })).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Create {
    name: String,
    driver: String,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

pub(crate) async fn create(State(state): State<DockerState>, JsonBody(wanted): JsonBody<Create>) -> Answer {
    if !matches!(wanted.driver.as_str(), "" | "local") {
        return Err(unimplemented(format!("volume driver {:?} is unimplemented: use local", wanted.driver)));
    }
    let options = wanted.driver_opts.unwrap_or_default();
    check_options(&options)?;
    let volume = state.engine.create_volume(&wanted.name, wanted.labels.unwrap_or_default(), options)?;
    Ok((StatusCode::CREATED, Json(json(&volume))).into_response())
}

/// The options that Docker's `local` takes.
pub(crate) fn check_options(options: &BTreeMap<String, String>) -> Result<(), Failure> {
    if let Some(name) = options.keys().find(|name| !matches!(name.as_str(), "type" | "o" | "device")) {
        return match name.as_str() {
            "size" => Err(unimplemented("volume option size is unimplemented: use type=tmpfs with o=size=…")),
            _ => Err(invalid(format!("invalid option: {name:?}"))),
        };
    }
    let option = |name: &str| options.get(name).map_or("", String::as_str);
    if !options.is_empty() && option("device").is_empty() {
        return Err(invalid("missing device in volume options"));
    }
    let is_bind = matches!(option("type"), "" | "none" | "bind");
    if is_bind && !options.is_empty() && !option("device").starts_with('/') {
        return Err(invalid(format!("volume option device={:?} must be an absolute path", option("device"))));
    }
    Ok(())
}

pub(crate) async fn inspect(State(state): State<DockerState>, Named(name): Named) -> Answer {
    Ok(Json(json(&state.engine.volume(&name)?)).into_response())
}

pub(crate) async fn remove(State(state): State<DockerState>, Named(name): Named, params: Params) -> Answer {
    match state.engine.remove_volume(&name) {
        Err(error) if error.is_not_found() && params.flag("force") => {}
        result => result?,
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Removes anonymous volumes that no container has; with the filter `all`, named ones too.
pub(crate) async fn prune(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&["all", "label", "label!"])?;
    let all = filters.get("all").iter().any(|value| value == "1" || value == "true");
    let (mut deleted, mut freed) = (Vec::new(), 0);
    for volume in state.engine.volumes()? {
        let is_anonymous =
            volume.name.len() == 64 && volume.name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !(all || is_anonymous) || !filters.labels(&volume.labels) {
            continue;
        }
        let path = volume.path.clone();
        let bytes = blocking(move || Ok(sizes::tree(&path))).await?;
        match state.engine.remove_volume(&volume.name) {
            Ok(()) => {
                freed += bytes;
                deleted.push(volume.name);
            }
            Err(error) if error.kind() == Kind::FailedPrecondition => {}
            Err(error) => return Err(error.into()),
        }
    }
    state.events.prune("volume", freed);
    Ok(Json(json!({ "VolumesDeleted": deleted, "SpaceReclaimed": freed })).into_response())
}
