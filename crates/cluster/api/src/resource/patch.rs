//! Patch: four formats, one loop.

use std::sync::Arc;

use hako_kube::Status;
use http::{StatusCode, header};
use serde_json::Value;

use super::decode;
use super::ownership::Writer;
use super::target::Target;
use super::update::modify;
use crate::http::{Failure, Outcome, Request};
use crate::patch;
use crate::server::Inner;

/// The format of a patch, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Format {
    pub(super) fn of(request: &Request) -> Outcome<Self> {
        let content_type = request.header(header::CONTENT_TYPE);
        match content_type.split(';').next().unwrap_or("").trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            other => {
                let text = format!(
                    "the body of the request was in an unknown format - accepted media types include: \
                     application/json-patch+json, application/merge-patch+json, \
                     application/strategic-merge-patch+json, application/apply-patch+yaml; got {other:?}"
                );
                Err(Status::failure(415, "UnsupportedMediaType", text).into())
            }
        }
    }

    /// What `object` becomes. Not for apply.
    pub(super) fn apply_to(self, object: &Value, change: &Value, type_name: &str) -> Outcome<Value> {
        Ok(match self {
            Self::Json => patch::json(object, change)?,
            Self::Merge => patch::merge(object, change),
            Self::Strategic => patch::strategic(object, change, type_name)?,
            Self::Apply => return Err(Failure::method_not_allowed()),
        })
    }
}

/// Changes part of an object, or of one of its parts.
pub(crate) async fn patch(server: &Arc<Inner>, request: &Request, target: &Target, part: &str) -> Outcome {
    let form = request.accept()?.form;
    let format = Format::of(request)?;
    let is_dry_run = request.query.is_dry_run()?;
    let change = decode::json(&request.body)?;
    let manager = request.manager();
    let writer = Writer { manager: &manager, subresource: part };
    let type_name = target.row.type_name;
    let stored = modify(server, target, &writer, is_dry_run, |old| format.apply_to(old, &change, type_name)).await?;
    stored.render(target, form, StatusCode::OK)
}
