//! `/containers/…`, one operation a file.

pub(crate) mod archive;
pub(crate) mod body;
pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod export;
mod filters;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod inspect;
pub(crate) mod lifecycle;
pub(crate) mod list;
mod mounted;
pub(crate) mod stream;
pub(crate) mod top;

use crate::DockerState;
use crate::client::until_gone;
use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{any, delete, get, post, put};

/// The routes of this module.
pub(crate) fn routes() -> Router<DockerState> {
    Router::new()
        .route("/containers/create", post(create::create).delete(lifecycle::remove))
        .route("/containers/json", get(list::list).delete(lifecycle::remove))
        .route("/containers/prune", post(lifecycle::prune).delete(lifecycle::remove))
        .route("/containers/{id}", delete(lifecycle::remove))
        .route("/containers/{id}/{link}", delete(lifecycle::remove))
        .route("/containers/{id}/json", get(inspect::inspect))
        .route("/containers/{id}/start", post(lifecycle::start))
        .route("/containers/{id}/stop", post(lifecycle::stop))
        .route("/containers/{id}/restart", post(lifecycle::restart))
        .route("/containers/{id}/kill", post(lifecycle::kill))
        .route("/containers/{id}/wait", post(lifecycle::wait))
        .route("/containers/{id}/pause", post(lifecycle::pause))
        .route("/containers/{id}/unpause", post(lifecycle::unpause))
        .route("/containers/{id}/rename", post(lifecycle::rename))
        .route("/containers/{id}/update", post(lifecycle::update))
        .route("/containers/{id}/attach", post(stream::attach))
        .route("/containers/{id}/resize", post(stream::resize))
        .route("/containers/{id}/logs", get(stream::logs))
        .route("/containers/{id}/stats", get(crate::stats::stats))
        .route("/containers/{id}/top", get(top::top))
        .route("/containers/{id}/exec", post(crate::exec::create))
        .route("/containers/{id}/export", get(export::export))
        .route("/containers/{id}/archive", get(archive::get).head(archive::head))
        .route("/containers/{id}/archive", put(archive::put).layer(from_fn(until_gone)))
        .route("/containers/{id}/changes", get(archive::changes))
        .route("/containers/{id}/attach/ws", get(stream::attach_ws))
        .route("/containers/{id}/checkpoints", any(checkpoints))
        .route("/containers/{id}/checkpoints/{name}", any(checkpoints))
        .route("/commit", post(commit::commit))
}

/// Checkpoints freeze a process into files; nothing here does.
async fn checkpoints() -> crate::error::Answer {
    Err(crate::error::unimplemented("checkpoints are unimplemented: stop the container, or pause it"))
}

/// The annotation under which the create request is kept, for inspect.
pub(crate) const REQUEST: &str = "docker.request";
/// Bytes that a container wrote beside its volumes; 0 where that cannot be measured.
pub(crate) async fn written(state: &DockerState, id: &hako_names::ContainerId) -> u64 {
    let (images, key) = (state.images.clone(), hako_container::snapshot_key(id.as_str()));
    let measured = crate::error::blocking(move || {
        Ok(images.snapshots().mounts(&key)?.upper.map_or(0, |upper| crate::sizes::content(&upper)))
    })
    .await;
    measured.unwrap_or_default()
}

/// What a container wrote, and that with its image's layers.
pub(crate) async fn sizes(
    state: &DockerState,
    id: &hako_names::ContainerId,
    image: &str,
) -> Result<(u64, u64), crate::error::Failure> {
    let written = written(state, id).await;
    let (state, image) = (state.clone(), image.to_owned());
    let below = crate::error::blocking(move || {
        // The image may have been removed under its container.
        let image = state.images.find(&image).ok();
        Ok(image.map_or(0, |image| state.sizes.unpacked(&state.images, &image).iter().sum::<u64>()))
    });
    Ok((written, written + below.await?))
}
