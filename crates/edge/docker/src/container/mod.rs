//! `/containers/…`, one operation a file.

pub(crate) mod create;
pub(crate) mod host;
pub(crate) mod inspect;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod stream;

/// The annotation under which the create request is kept, for inspect.
pub(crate) const REQUEST: &str = "docker.request";
/// The annotation under which the image's name is kept as the client wrote it.
pub(crate) const IMAGE: &str = "docker.image";

/// The image as its client wrote it.
pub(crate) fn image(container: &hako_container::Container) -> String {
    container.spec.annotations.get(IMAGE).cloned().unwrap_or_else(|| container.spec.image.as_written())
}
