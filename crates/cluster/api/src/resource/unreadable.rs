//! Objects that are kept and cannot be read: sealed with a key that is lost, or damaged.
//!
//! A list that meets some says which, and whoever may do that deletes one unread: without regard to its finalizers and
//! to what it owns (KEP-3926, the feature `AllowUnsafeMalformedObjectDeletion`).

use std::sync::Arc;

use hako_error::Kind;
use hako_kube::status::Subject;
use hako_kube::{Status, StatusCause, StatusDetails, field, status};
use hako_store::{Expect, Range, StoreError, Write};
use http::StatusCode;

use super::encoded::decode;
use super::target::Target;
use crate::auth::{Attributes, decide};
use crate::http::{Failure, Outcome, Request, answer};
use crate::sealing::beneath;
use crate::server::Inner;

/// The option of a deletion that asks for it.
pub(super) const OPTION: &str = "ignoreStoreReadErrorWithClusterBreakingPotential";
/// What whoever asks for it has to be allowed besides `delete`.
const VERB: &str = "unsafe-delete-ignore-read-errors";
const REASON: &str = "StorageReadError";
/// So many are named of those that a list meets.
const NAMED_MAX: usize = 100;
/// How often the object may become another one meanwhile.
const ATTEMPTS: usize = 16;

/// Why a list cannot be had: which objects of it cannot be read.
pub(super) async fn of_list(server: &Inner, target: &Target, range: &Range) -> Outcome<Failure> {
    let whole = Range { limit: 0, start_after: None, ..range.clone() };
    let mut causes = Vec::new();
    for entry in beneath(server).range(whole).await?.entries {
        let Err(error) = server.config.store.get(&entry.key).await else { continue };
        if causes.len() == NAMED_MAX {
            let message = "too many errors, the list is truncated".to_owned();
            causes.push(StatusCause { reason: "FieldValueTooMany".into(), message, field: String::new() });
            break;
        }
        causes.push(StatusCause {
            reason: "UnexpectedServerResponse".into(),
            message: error.to_string(),
            field: String::from_utf8_lossy(&entry.key).into_owned(),
        });
    }
    let subject = target.subject();
    let text = format!("failed to read one or more {} from the storage", subject.group_resource());
    let mut status = Status::failure(500, REASON, text);
    status.details = Some(StatusDetails {
        group: subject.group,
        kind: subject.resource,
        name: String::from_utf8_lossy(&range.prefix).into_owned(),
        causes,
        ..StatusDetails::default()
    });
    Ok(status.into())
}

/// Why a watch ends. Whoever is told of an object that cannot be read has to list again.
pub(super) fn of_watch(error: StoreError) -> Failure {
    match error {
        StoreError::Unreadable { .. } => Status::failure(500, REASON, error.to_string()).into(),
        error => error.into(),
    }
}

/// Deletes an object that cannot be read. One that can is not deleted like that.
pub(super) async fn delete(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    request.notes.annotate("apiserver.k8s.io/unsafe-delete-ignore-read-error", "");
    may(server, request, target).await?;
    for _ in 0..ATTEMPTS {
        let kept = beneath(server).get(&target.key()).await?.entry.ok_or_else(|| target.not_found())?;
        if is_readable(server, target).await? {
            return Err(readable(target));
        }
        let write = Write::delete(kept.key.clone(), Expect::At(kept.modified));
        match server.config.store.write(write).await {
            Ok(_) => return Ok(answer::json(StatusCode::OK, &Status::success_about(&target.subject(), ""))),
            Err(StoreError::NotFound { .. }) => return Err(target.not_found()),
            // Also where what is there now cannot be shown.
            Err(
                StoreError::Conflict { .. }
                | StoreError::Unreadable { .. }
                | StoreError::KeysUnavailable { .. },
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(target.modified())
}

async fn is_readable(server: &Inner, target: &Target) -> Outcome<bool> {
    match server.config.store.get(&target.key()).await {
        Ok(read) => {
            let entry = read.entry.ok_or_else(|| target.not_found())?;
            Ok(decode(&target.row, &entry).is_ok())
        }
        Err(StoreError::Unreadable { .. } | StoreError::KeysUnavailable { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn may(server: &Inner, request: &Request, target: &Target) -> Outcome<()> {
    let wanted = Attributes::Resource {
        verb: VERB,
        group: &target.row.group,
        resource: &target.row.plural,
        subresource: "",
        namespace: &target.namespace,
        name: &target.name,
    };
    match decide(server, &request.identity, wanted).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == Kind::Forbidden => {
            let subject = target.subject();
            let text = format!(
                "{} {:?} is forbidden: not permitted to do {VERB:?}, reason: {error}",
                subject.group_resource(),
                subject.name
            );
            Err(Failure::from(Status::failure(403, "Forbidden", text)).of(&subject))
        }
        Err(error) => Err(error.into()),
    }
}

/// As upstream says it: of the resource where the kind would be.
fn readable(target: &Target) -> Failure {
    let subject = target.subject();
    let subject = Subject { kind: subject.resource.clone(), ..subject };
    let detail = "is exclusively used to delete corrupt object(s), try again by removing this option";
    let cause = field::invalid(OPTION, true, detail);
    Failure::about(&status::invalid(&subject, vec![cause]), &subject)
}
