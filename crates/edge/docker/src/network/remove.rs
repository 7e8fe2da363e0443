//! Removing networks.

use super::{Known, all, find, used};
use crate::DockerState;
use crate::error::{Answer, Failure};
use crate::named::Named;
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_error::{Error, Kind};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The networks that are always there stay.
pub(super) async fn remove(State(state): State<DockerState>, Named(wanted): Named) -> Answer {
    match find(&state, &wanted).await? {
        Known::Kept(net) => {
            state.engine.remove_network(&net.id).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Known::Mode(name, ..) => {
            let text = format!("{name} is a pre-defined network and cannot be removed");
            Err(Failure(Error::new(Kind::Forbidden, text)))
        }
    }
}

/// Removes the networks that no container is to be connected to, running or not.
pub(super) async fn prune(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&["until", "label", "label!"])?;
    let until = filters.until(Timestamp::now())?;
    let used = used(&state).await?;
    let mut removed = Vec::new();
    for net in all(&state).await? {
        let Known::Kept(net) = net else { continue };
        let is_old = until.is_none_or(|until| net.created < until);
        if net.is_default()
            || net.config_only.is_some()
            || used.contains(&net.id)
            || !is_old
            || !filters.labels(&net.labels)
        {
            continue;
        }
        match state.engine.remove_network(&net.id).await {
            Ok(net) => removed.push(net.name),
            // Somebody was connected meanwhile, or removed it.
            Err(error) if matches!(error.kind(), Kind::Forbidden | Kind::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    state.events.prune("network", 0);
    let deleted = if removed.is_empty() { Value::Null } else { json!(removed) };
    Ok(Json(json!({ "NetworksDeleted": deleted })).into_response())
}
