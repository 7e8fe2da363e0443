//! Get.

use http::StatusCode;

use super::render;
use super::target::Target;
use crate::http::{Outcome, Request};
use crate::server::Inner;

/// Reads one object: stored bytes with the revision put in.
pub(crate) async fn get(server: &Inner, request: &Request, target: &Target) -> Outcome {
    let form = request.accept()?.form;
    let entry = target.read(&*server.config.store).await?;
    render::object(target.row, form, StatusCode::OK, &entry.value, entry.modified)
}
