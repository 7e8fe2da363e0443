//! `DELETE /images/{name}`.

use super::find;
use crate::DockerState;
use crate::error::{Answer, blocking, message, unimplemented};
use crate::named::Named;
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_container::{ContainerEngine, Filter};
use http::StatusCode;
use serde_json::{Value, json};

/// One whose name is a path of its own with other methods.
pub(super) async fn named(State(state): State<DockerState>, Named(name): Named, params: Params) -> Answer {
    remove(&state, &name, &params).await
}

/// Removes a name; the image goes with its last one, unless a container has it.
pub(super) async fn remove(state: &DockerState, name: &str, params: &Params) -> Answer {
    if params.get("platforms").is_some() {
        return Err(unimplemented("platforms is unimplemented: an image is removed as a whole"));
    }
    let image = find(state, name).await?;
    let force = params.flag("force");
    let is_last = image.names.len() <= 1;
    let containers = state.engine.containers(&Filter::default()).await?;
    let user = containers.iter().find(|container| container.resolved.image_id == image.id.to_string());
    if let Some(container) = user.filter(|container| is_last && (!force || container.state.is_running())) {
        let (short, id) = (image.id.short(), container.id.short());
        let (how, verb) = match container.state.is_running() {
            true => ("cannot be forced", "is being used by running container"),
            false => ("must be forced", "is being used by stopped container"),
        };
        // What was named by its id, or has no name, is told as an image; else the name is what cannot go.
        let is_id = image.names.is_empty()
            || image
                .id
                .to_string()
                .trim_start_matches("sha256:")
                .starts_with(name.trim_start_matches("sha256:"));
        let text = match is_id || container.state.is_running() && force {
            true => format!("conflict: unable to delete {name} ({how}) - image {short} {verb} {id}"),
            false => format!(
                "conflict: unable to remove repository reference \"{name}\" (must force) - container {id} is using its referenced image {short}"
            ),
        };
        return Ok(message(StatusCode::CONFLICT, &text));
    }
    let (images, wanted) = (state.images.clone(), name.to_owned());
    let removed = blocking(move || images.remove(&wanted, force)).await?;
    let id = image.id.to_string();
    removed.untagged.iter().for_each(|_| state.events.image("untag", &id, &id, &image));
    removed.deleted.iter().for_each(|_| state.events.image("delete", &id, &id, &image));
    let untagged = removed.untagged.iter().map(|name| json!({ "Untagged": name.to_string() }));
    let deleted = removed.deleted.iter().map(|id| json!({ "Deleted": id }));
    Ok(Json(untagged.chain(deleted).collect::<Vec<Value>>()).into_response())
}
