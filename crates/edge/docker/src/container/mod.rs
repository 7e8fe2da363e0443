//! `/containers/…`, one operation a file.

pub(crate) mod create;
pub(crate) mod host;
pub(crate) mod inspect;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod stream;

/// The annotation under which the create request is kept, for inspect.
pub(crate) const REQUEST: &str = "docker.request";
