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

/// The annotation under which the create request is kept, for inspect.
pub(crate) const REQUEST: &str = "docker.request";
/// The annotation under which the image's name is kept as the client wrote it.
pub(crate) const IMAGE: &str = "docker.image";

/// The image as its client wrote it.
pub(crate) fn image(container: &hako_container::Container) -> String {
    container.spec.annotations.get(IMAGE).cloned().unwrap_or_else(|| container.spec.image.as_written())
}

/// Bytes that a container wrote beside its volumes; 0 where that cannot be measured.
pub(crate) async fn written(state: &crate::DockerState, id: &hako_names::ContainerId) -> u64 {
    let (images, key) = (state.images.clone(), hako_container::snapshot_key(id.as_str()));
    let measured = crate::error::blocking(move || Ok(images.snapshots().usage(&key)?.bytes)).await;
    measured.unwrap_or_default()
}
