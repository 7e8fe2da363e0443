//! The three networks that are always there.

use crate::DockerState;
use crate::error::{Answer, Failure, unimplemented};
use crate::params::Params;
use axum::Json;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hako_container::{ContainerEngine, Filter, NetworkMode, Sandbox};
use hako_error::{Error, Kind};
use serde_json::{Map, Value, json};

/// The routes of this module.
pub(crate) fn routes() -> Router<DockerState> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/create", post(not_built))
        .route("/networks/prune", post(prune))
        .route("/networks/{id}", get(inspect).delete(remove))
        .route("/networks/{id}/connect", post(not_built))
        .route("/networks/{id}/disconnect", post(not_built))
}

const NETWORKS: [(&str, &str, NetworkMode); 3] = [
    ("bridge", "bridge", NetworkMode::Bridge),
    ("host", "host", NetworkMode::Host),
    ("none", "null", NetworkMode::None),
];

/// Docker's name of a network.
pub(crate) fn name(mode: NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Bridge => "bridge",
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
    }
}

/// A network has no id of its own: its name's bytes in hexadecimal, filled up to Docker's 64 digits.
pub(crate) fn id(name: &str) -> String {
    let mut id: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    id.extend(std::iter::repeat_n('0', 64 - id.len()));
    id
}

fn json(name: &str, driver: &str, members: &[Sandbox]) -> Value {
    let containers: Map<String, Value> = members
        .iter()
        .filter_map(|sandbox| {
            let address = format!("{}/32", sandbox.ip?);
            Some((sandbox.id.to_string(), json!({ "Name": sandbox.spec.name, "IPv4Address": address, "IPv6Address": "", "MacAddress": "" })))
        })
        .collect();
    json!({
        "Name": name, "Id": id(name), "Created": "1970-01-01T00:00:00Z", "Scope": "local", "Driver": driver,
        "EnableIPv6": false, "IPAM": { "Driver": "default", "Options": null, "Config": [] }, "Internal": false,
        "Attachable": false, "Ingress": false, "Containers": containers, "Options": {}, "Labels": {},
    })
}

pub(crate) async fn list(params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&["name", "id", "driver", "scope", "type"])?;
    let shown: Vec<Value> = NETWORKS
        .iter()
        .filter(|(name, driver, _)| {
            filters.any("name", |wanted| name.contains(wanted))
                && filters.any("id", |wanted| id(name).starts_with(wanted))
                && filters.any("driver", |wanted| *driver == wanted)
                && filters.any("scope", |wanted| wanted == "local")
                && filters.any("type", |wanted| wanted == "builtin")
        })
        .map(|(name, driver, _)| json(name, driver, &[]))
        .collect();
    Ok(Json(shown).into_response())
}

pub(crate) async fn inspect(State(state): State<DockerState>, Path(wanted): Path<String>) -> Answer {
    let found = NETWORKS.iter().find(|(name, ..)| *name == wanted || id(name).starts_with(&wanted));
    let Some((name, driver, mode)) = found else {
        return Err(Failure(Error::new(Kind::NotFound, format!("network {wanted} not found"))));
    };
    let sandboxes = state.engine.sandboxes(&Filter { standalone: Some(true), ..Filter::default() }).await?;
    let members: Vec<Sandbox> =
        sandboxes.into_iter().filter(|sandbox| sandbox.spec.network == *mode).collect();
    Ok(Json(json(name, driver, &members)).into_response())
}

/// What would make or change a network.
pub(crate) async fn not_built(request: Request) -> Answer {
    let (method, path) = (request.method(), request.uri().path());
    Err(unimplemented(format!(
        "{method} {path} is unimplemented: containers can have the networks bridge, host and none"
    )))
}

/// The networks that are always there stay, any other does not exist.
pub(crate) async fn remove(Path(wanted): Path<String>) -> Answer {
    match NETWORKS.iter().find(|(name, ..)| *name == wanted || id(name).starts_with(&wanted)) {
        Some((name, ..)) => {
            let text = format!("{name} is a pre-defined network and cannot be removed");
            Err(Failure(Error::new(Kind::Forbidden, text)))
        }
        None => Err(Failure(Error::new(Kind::NotFound, format!("network {wanted} not found")))),
    }
}

/// There is never an unused network: the three that are always there are not for pruning.
pub(crate) async fn prune() -> Response {
    Json(json!({ "NetworksDeleted": null })).into_response()
}
