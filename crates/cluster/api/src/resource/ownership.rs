//! Field ownership: which manager last wrote which field.

use hako_error::Error;
use jiff::Timestamp;
use serde_json::Value;

use super::target::Target;
use crate::admission::{Change, Notes, Operation};
use crate::auth::Identity;
use crate::http::{Failure, Outcome, Request};
use crate::patch::apply;
use crate::server::Inner;

/// Who changes an object, through which part, and how that is recorded.
#[derive(Clone, Debug)]
pub(super) struct Writer<'a> {
    /// The manager's name.
    pub manager: String,
    /// Empty, or the subresource written through.
    pub subresource: &'a str,
    /// Who it is.
    pub identity: &'a Identity,
    /// What admission has to say.
    pub notes: &'a Notes,
    record: Record,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// What the write changed becomes the writer's.
    Track,
    /// Nothing changes hands: components of this process write what nobody else does, and for them the record
    /// would cost more than the object.
    Keep,
    /// The application has noted it already.
    Applied,
}

impl<'a> Writer<'a> {
    /// The sender of a request.
    pub(super) fn of(request: &'a Request, subresource: &'a str) -> Self {
        let record = if request.is_inside { Record::Keep } else { Record::Track };
        let (identity, notes) = (&request.identity, &*request.notes);
        Self { manager: request.manager(), subresource, identity, notes, record }
    }

    /// The sender of an application, which has said who it is.
    pub(super) fn applying(request: &'a Request, subresource: &'a str) -> Self {
        let (identity, notes) = (&request.identity, &*request.notes);
        Self { manager: request.manager(), subresource, identity, notes, record: Record::Applied }
    }
}

impl<'a> Writer<'a> {
    /// What the writer is about to do, for admission.
    pub(super) fn change(
        &'a self,
        server: &'a Inner,
        operation: Operation,
        target: &'a Target,
        old: Option<&'a Value>,
    ) -> Change<'a> {
        let Self { identity, notes, subresource: part, .. } = self;
        Change { server, operation, target, part, identity, old, notes }
    }
}

/// Keeps the record of ownership through a write.
pub(super) fn record(writer: &Writer<'_>, target: &Target, old: Option<&Value>, new: &mut Value) {
    match writer.record {
        Record::Applied => {}
        Record::Keep => keep(old, new),
        Record::Track => {
            let write = apply::Write {
                type_name: target.row.type_name,
                live: old,
                manager: &writer.manager,
                api_version: &target.row.api_version(),
                subresource: writer.subresource,
                now: Timestamp::now(),
            };
            apply::track(write, new);
        }
    }
}

fn keep(old: Option<&Value>, new: &mut Value) {
    let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    match old.and_then(|old| old.pointer("/metadata/managedFields")) {
        Some(fields) => metadata.insert("managedFields".to_owned(), fields.clone()),
        None => metadata.shift_remove("managedFields"),
    };
}

/// What an object becomes when a configuration is applied to it.
pub(super) fn applied(
    writer: &Writer<'_>,
    target: &Target,
    live: Option<&Value>,
    configuration: &Value,
    force: bool,
) -> Outcome<Value> {
    let request = apply::Apply {
        type_name: target.row.type_name,
        live,
        applied: configuration,
        manager: &writer.manager,
        force,
        api_version: &target.row.api_version(),
        subresource: writer.subresource,
        now: Timestamp::now(),
    };
    apply::apply(request).map_err(|error| Failure::about(&Error::from(error), &target.subject()))
}
