//! Field ownership: which manager last wrote which field.

use hako_error::Error;
use hako_kube::Status;
use hako_kube::status::Subject;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::apart::Old;
use super::siblings::Siblings;
use super::target::Target;
use crate::admission::{Change, Manner, Notes, Operation};
use crate::auth::Identity;
use crate::http::{Failure, Outcome, Request};
use crate::kinds::{PartWrite, Served};
use crate::patch::apply::{self, Record};
use crate::server::Inner;

/// Who changes an object, through which part, and how that is recorded.
#[derive(Clone, Debug)]
pub(super) struct Writer<'a> {
    /// The manager's name.
    pub manager: String,
    /// Empty, or the subresource written through.
    pub subresource: &'a str,
    /// Under which subresource the fields are owned: mostly that one.
    owned_through: &'a str,
    /// Who it is.
    pub identity: &'a Identity,
    /// What admission has to say.
    pub notes: &'a Notes,
    pub manner: Manner,
    asks_others: bool,
    record: Noted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
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
        let record = if request.is_inside { Noted::Keep } else { Noted::Track };
        let (identity, notes) = (&request.identity, &*request.notes);
        let (manager, manner) = (request.manager(), Manner::of(request));
        Self {
            manager,
            subresource,
            owned_through: subresource,
            identity,
            notes,
            manner,
            asks_others: true,
            record,
        }
    }

    /// The server itself, which owns nothing.
    pub(super) fn server(identity: &'a Identity, notes: &'a Notes) -> Self {
        Self {
            manager: String::new(),
            subresource: "",
            owned_through: "",
            identity,
            notes,
            manner: Manner::of_server(),
            asks_others: false,
            record: Noted::Keep,
        }
    }

    /// The sender of an application, which has said who it is.
    pub(super) fn applying(request: &'a Request, subresource: &'a str) -> Self {
        Self { record: Noted::Applied, ..Self::of(request, subresource) }
    }

    /// The same, who owns what it writes to the whole object under a subresource.
    pub(super) fn owning_through(self, subresource: &'a str) -> Self {
        Self { owned_through: subresource, ..self }
    }

    /// The same, who owns nothing of what it writes.
    pub(super) fn unrecorded(self) -> Self {
        Self { record: Noted::Keep, ..self }
    }

    /// The sender of a deletion with these options.
    pub(super) fn deleting(mut self, options: Value, is_dry_run: bool) -> Self {
        self.manner = self.manner.with_deletion(options, is_dry_run);
        self
    }

    /// The same for a change that follows from one about which webhooks and policies were asked.
    pub(super) fn settled(self) -> Self {
        Self { asks_others: false, ..self }
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
        let Self { identity, notes, subresource: part, manner, asks_others, .. } = self;
        Change {
            server,
            operation,
            target,
            part,
            identity,
            old,
            notes,
            manner,
            asks_others: *asks_others,
            apart: None,
            prefix: "",
        }
    }
}

/// The record of ownership after a change; `given` is what the writer has set.
pub(super) async fn record(
    server: &Inner,
    writer: &Writer<'_>,
    target: &Target,
    old: &Old,
    given: Option<&Value>,
    new: &Value,
) -> Record {
    let own = target.row.api_version();
    let names_others = |given: &Value| apply::names_other_versions(given, own);
    if writer.record != Noted::Track || old.record.is_of(own) && !given.is_some_and(names_others) {
        return record_alone(writer, target, Some(old), given, new);
    }
    let before = old.record.value().unwrap_or_default();
    let siblings = Siblings::of(server, &target.row, [&before].into_iter().chain(given));
    let write = write(writer, target, Some(&old.object));
    let made = apply::track_across(write, &old.record, given, (&old.object, new), &siblings);
    Box::pin(made).await.unwrap_or_else(|error| {
        // As upstream has it, nothing is said of owners where it is not known what became of what they own.
        tracing::debug!(%error, "who owns what of an object is not known any more");
        Record::default()
    })
}

/// The same for a new object, or one that nobody writes in another version.
pub(super) fn record_alone(
    writer: &Writer<'_>,
    target: &Target,
    old: Option<&Old>,
    given: Option<&Value>,
    new: &Value,
) -> Record {
    match writer.record {
        Noted::Applied => given.map_or_else(Record::default, Record::of_value),
        Noted::Keep => old.map_or_else(Record::default, |old| old.record.clone()),
        Noted::Track => {
            let (live, none) = (old.map(|old| &old.object), Record::default());
            let before = old.map_or(&none, |old| &old.record);
            apply::track_apart(write(writer, target, live), before, given, new)
        }
    }
}

fn write<'a>(writer: &'a Writer<'_>, target: &'a Target, old: Option<&'a Value>) -> apply::Write<'a> {
    apply::Write {
        shape: target.row.shape(),
        live: old,
        manager: &writer.manager,
        api_version: target.row.api_version(),
        subresource: writer.owned_through,
        reach: reach(writer, target),
        now: Timestamp::now(),
    }
}

/// What can be owned through the way of a write. Parts other than the status have kept what they do not reach already.
fn reach(writer: &Writer<'_>, target: &Target) -> apply::Reach {
    match writer.owned_through {
        "" if target.row.subresources.iter().any(|part| part.name == "status") => apply::Reach::AllButStatus,
        "status" => apply::Reach::Status(taken_with_status(&target.row)),
        _ => apply::Reach::All,
    }
}

/// What of the metadata a write of the status changes: what is left of a change of everything.
fn taken_with_status(row: &Served) -> [bool; apply::METADATA_OF_ALL.len()] {
    let owner = json!([{"uid": "u"}]);
    let sent = json!({"annotations": {"a": "b"}, "finalizers": ["a/b"], "labels": {"a": "b"}, "ownerReferences": owner});
    let mut new = json!({"metadata": sent});
    row.strategy().prepare_part(&mut new, &json!({"metadata": {}}), &PartWrite { name: "status", now: "" });
    apply::METADATA_OF_ALL.map(|name| new["metadata"].get(name).is_some_and(|left| *left == sent[name]))
}

/// What an object becomes when a configuration is applied to it.
pub(super) fn applied(
    writer: &Writer<'_>,
    target: &Target,
    live: Option<&Value>,
    configuration: &Value,
    force: bool,
) -> Outcome<Value> {
    let request = application(writer, target, live, configuration, force);
    apply::apply(request).map_err(|error| not_applied(error, &target.subject()))
}

/// Why a configuration was not applied. What does not fit the kind is no failure of the server; the answer is the one that
/// upstream gives, which has no reason and is about nothing.
pub(super) fn not_applied(error: apply::ApplyError, subject: &Subject) -> Failure {
    match error {
        apply::ApplyError::Typed { .. } => Status::failure(500, "", error.to_string()).into(),
        other => Failure::about(&Error::from(other), subject),
    }
}

/// The same for an object that others may write in other versions.
pub(super) async fn applied_across(
    server: &Inner,
    writer: &Writer<'_>,
    target: &Target,
    live: &Value,
    configuration: &Value,
    force: bool,
) -> Outcome<Value> {
    if !apply::has_other_versions(live, target.row.api_version()) {
        return applied(writer, target, Some(live), configuration, force);
    }
    let before = live.pointer("/metadata/managedFields");
    let siblings = Siblings::of(server, &target.row, before);
    let request = application(writer, target, Some(live), configuration, force);
    let made = Box::pin(apply::apply_across(request, live, &siblings)).await;
    made.map_err(|error| Failure::about(&error, &target.subject()))
}

fn application<'a>(
    writer: &'a Writer<'_>,
    target: &'a Target,
    live: Option<&'a Value>,
    configuration: &'a Value,
    force: bool,
) -> apply::Apply<'a> {
    apply::Apply {
        shape: target.row.shape(),
        live,
        applied: configuration,
        manager: &writer.manager,
        force,
        api_version: target.row.api_version(),
        subresource: writer.owned_through,
        reach: reach(writer, target),
        now: Timestamp::now(),
    }
}

#[cfg(test)]
mod tests {
    use super::taken_with_status;
    use crate::kinds::Kinds;

    #[test]
    fn what_is_taken_with_a_status_is_known_of_every_kind() {
        for row in Kinds::built_in().all() {
            if row.subresources.iter().any(|part| part.name == "status") {
                taken_with_status(row);
            }
        }
        let of = |group: &str, kind: &str| {
            taken_with_status(Kinds::built_in().by_kind(group, "v1", kind).unwrap())
        };
        assert_eq!(of("", "Pod"), [true, true, true, false]);
        assert_eq!(of("apps", "Deployment"), [true, true, false, true]);
        assert_eq!(of("apiextensions.k8s.io", "CustomResourceDefinition"), [false; 4]);
    }
}
