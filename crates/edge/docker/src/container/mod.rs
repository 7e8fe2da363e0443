//! `/containers/…`, one operation a file.

pub(crate) mod body;
pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod export;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod inspect;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod stream;
pub(crate) mod top;

use crate::DockerState;
use axum::Router;
use axum::routing::{delete, get, post};

/// The routes of this module.
pub(crate) fn routes() -> Router<DockerState> {
    Router::new()
        .route("/containers/create", post(create::create))
        .route("/containers/json", get(list::list))
        .route("/containers/prune", post(lifecycle::prune))
        .route("/containers/{id}", delete(lifecycle::remove))
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
        .route("/commit", post(commit::commit))
}

/// The annotation under which the create request is kept, for inspect.
pub(crate) const REQUEST: &str = "docker.request";
/// The annotation under which the image's name is kept as the client wrote it.
pub(crate) const IMAGE: &str = "docker.image";

/// The image as its client wrote it.
pub(crate) fn image(container: &hako_container::Container) -> String {
    container.spec.annotations.get(IMAGE).cloned().unwrap_or_else(|| container.spec.image.as_written())
}

/// Bytes that a container wrote beside its volumes; 0 where that cannot be measured.
pub(crate) async fn written(state: &DockerState, id: &hako_names::ContainerId) -> u64 {
    let (images, key) = (state.images.clone(), hako_container::snapshot_key(id.as_str()));
    let measured = crate::error::blocking(move || Ok(images.snapshots().usage(&key)?.bytes)).await;
    measured.unwrap_or_default()
}
