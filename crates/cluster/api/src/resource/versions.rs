//! Which state a read shows: what `resourceVersion`, `resourceVersionMatch`, `limit`, `continue` and
//! `sendInitialEvents` mean together (Kubernetes API concepts, "Resource versions").
//!
//! | | no version | version 0 | another version |
//! |---|---|---|---|
//! | list without a rule | newest | any | not older; exactly that where `limit` is given |
//! | `NotOlderThan` | refused | any | not older |
//! | `Exact` | refused | refused | exactly that |
//! | continued | as the first page was | as the first page was | refused |
//!
//! Every state that is shown is the newest there is, so "any" and "not older" only differ in what is refused: a version
//! that is still to come.

use hako_error::FieldCause;
use hako_kube::field;
use hako_kube::status::{self, Status, Subject};
use hako_store::{Revision, StoreError};

use crate::http::{Failure, Outcome, Query};

const EXACT: &str = "Exact";
const NOT_OLDER: &str = "NotOlderThan";

/// The state asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Newest,
    NotOlder(Revision),
    Exact(Revision),
}

impl Version {
    /// That of an object.
    pub(super) fn of_get(query: &Query) -> Outcome<Self> {
        Ok(number(query).map_err(unread)?.map_or(Self::Newest, Self::NotOlder))
    }

    /// That of a list's first page; a continued list has its own.
    pub(super) fn of_list(query: &Query, limit: usize) -> Outcome<Self> {
        let version = number(query)
            .map_err(|fault| Failure::bad_request(format!("invalid resource version: {fault}")))?;
        let rule = query.text("resourceVersionMatch");
        check(list_faults(query, rule, version))?;
        if query.text("continue").is_some() && version.is_some_and(|version| version > Revision::ZERO) {
            let text = "specifying resource version is not allowed when using continue";
            return Err(Failure::bad_request(text));
        }
        Ok(match (rule, version) {
            (_, None) => Self::Newest,
            (Some(EXACT), Some(version)) => Self::Exact(version),
            // As clients of before there were rules know it.
            (None, Some(version)) if limit > 0 && version > Revision::ZERO => Self::Exact(version),
            (_, Some(version)) => Self::NotOlder(version),
        })
    }

    /// The state to read from the store; none is the newest.
    pub(super) fn exactly(self) -> Option<Revision> {
        if let Self::Exact(version) = self { Some(version) } else { None }
    }

    /// Refuses a version that is still to come.
    pub(super) fn allows(self, shown: Revision) -> Outcome<()> {
        match self {
            Self::NotOlder(requested) if shown < requested => {
                Err(StoreError::FutureRevision { requested, current: shown }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Refuses what makes no sense for a watch.
pub(super) fn check_watch(query: &Query) -> Outcome<()> {
    const FIELD: &str = "resourceVersionMatch";
    let rule = query.text(FIELD);
    let is_initial_said = query.get("sendInitialEvents").is_some();
    let mut causes = Vec::new();
    if is_initial_said && rule != Some(NOT_OLDER) {
        causes.push(field::forbidden(
            FIELD,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    if let Some(rule) = rule {
        if !is_initial_said {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            causes.push(field::forbidden(FIELD, why));
        }
        if rule != NOT_OLDER {
            causes.push(field::not_supported(FIELD, rule, &[NOT_OLDER]));
        }
        if query.text("continue").is_some() {
            causes
                .push(field::forbidden(FIELD, "resourceVersionMatch is forbidden when continue is provided"));
        }
    }
    check(causes)
}

fn list_faults(query: &Query, rule: Option<&str>, version: Option<Revision>) -> Vec<FieldCause> {
    const FIELD: &str = "resourceVersionMatch";
    let mut causes = Vec::new();
    if let Some(rule) = rule {
        if version.is_none() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            causes.push(field::forbidden(FIELD, why));
        }
        if query.text("continue").is_some() {
            causes
                .push(field::forbidden(FIELD, "resourceVersionMatch is forbidden when continue is provided"));
        }
        if !matches!(rule, EXACT | NOT_OLDER) {
            causes.push(field::not_supported(FIELD, rule, &[EXACT, NOT_OLDER, ""]));
        }
        if rule == EXACT && version == Some(Revision::ZERO) {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(field::forbidden(FIELD, why));
        }
    }
    if query.get("sendInitialEvents").is_some() {
        causes.push(field::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    causes
}

fn check(causes: Vec<FieldCause>) -> Outcome<()> {
    if causes.is_empty() {
        return Ok(());
    }
    let options =
        Subject { group: "meta.k8s.io".to_owned(), kind: "ListOptions".to_owned(), ..Subject::default() };
    Err(Failure::about(&status::invalid(&options, causes), &options))
}

/// The numbers of a list or watch.
pub(super) struct Numbers {
    pub seconds: Option<i64>,
    pub limit: usize,
}

/// All numbers that lists and watches may be asked with: each is to be one, whether it counts or not.
pub(super) fn listing_numbers(query: &Query) -> Outcome<Numbers> {
    let seconds = query.integer("timeoutSeconds")?;
    let limit = query.integer("limit")?.unwrap_or(0);
    Ok(Numbers { seconds, limit: usize::try_from(limit).unwrap_or(0) })
}

/// The version that a watch begins after; none is now.
pub(super) fn of_watch(query: &Query) -> Outcome<Option<Revision>> {
    number(query).map_err(unread)
}

/// What is not taken for the fault of who asked, as upstream has it of all but lists.
fn unread(fault: String) -> Failure {
    Status::failure(500, "", fault).into()
}

/// The version asked for, or what is wrong with it.
fn number(query: &Query) -> Result<Option<Revision>, String> {
    const FIELD: &str = "resourceVersion";
    let Some(text) = query.text(FIELD) else { return Ok(None) };
    // A sign is none of a number without one.
    let digits = if text.starts_with('+') { "+" } else { text };
    let version = digits.parse().map_err(|error| Query::no_number("ParseUint", text, &error));
    version
        .map(|version| Some(Revision(version)))
        .map_err(|why| field::line(&field::invalid(FIELD, text, &why)))
}
