//! Get.

use http::StatusCode;

use super::convert;
use super::render;
use super::target::Target;
use super::versions::Version;
use crate::http::{Outcome, Request};
use crate::server::Inner;

/// Reads one object: stored bytes with the revision put in.
pub(crate) async fn get(server: &Inner, request: &Request, target: &Target) -> Outcome {
    let form = request.accept_of(target.row.has_protobuf)?.form;
    let version = Version::of_get(&request.query)?;
    let read = server.config.store.get(&target.key()).await?;
    version.allows(read.revision)?;
    let entry = read.entry.ok_or_else(|| target.not_found())?;
    let entry = convert::shown(server, &target.row, entry).await?;
    render::object(&target.row, form, StatusCode::OK, &entry.value, entry.modified)
}
