//! `Status`, and the one mapping between it and our errors.
//!
//! Kind → HTTP code and reason is decided here and nowhere else, in both directions.

use crate::field::{self, Told};
use hako_error::{Error, FieldCause, Kind};
use serde::{Deserialize, Serialize};

/// The API's answer when there is no object to answer with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    pub kind: String,
    /// Always `v1`.
    pub api_version: String,
    /// Always empty.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// `Success` or `Failure`.
    pub status: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// More for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<StatusDetails>,
    /// The HTTP status code.
    pub code: u16,
}

/// What a [`Status`] is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StatusDetails {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource (or kind, for invalid objects).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's identity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The faulty fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// When to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

/// One faulty field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusCause {
    /// Machine-readable reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What is wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Where.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// The object or collection that a request was about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The API group, empty for core.
    pub group: String,
    /// The plural resource name.
    pub resource: String,
    /// The kind.
    pub kind: String,
    /// The object's name, empty for collections.
    pub name: String,
}

impl Subject {
    /// `deployments.apps`, or `pods` for core.
    #[must_use]
    pub fn group_resource(&self) -> String {
        qualified(&self.resource, &self.group)
    }

    /// `Deployment.apps`, or `Pod` for core.
    #[must_use]
    pub fn group_kind(&self) -> String {
        qualified(&self.kind, &self.group)
    }
}

fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// The reason of the field cause by which an expired revision is told apart from other failed preconditions.
const EXPIRED: &str = "Expired";

/// `pods "x" not found`.
#[must_use]
pub fn not_found(subject: &Subject) -> Error {
    let text = format!("{} {:?} not found", subject.group_resource(), subject.name);
    Error::new(Kind::NotFound, text)
}

/// `pods "x" already exists`.
#[must_use]
pub fn already_exists(subject: &Subject) -> Error {
    let text = format!("{} {:?} already exists", subject.group_resource(), subject.name);
    Error::new(Kind::AlreadyExists, text)
}

/// `Operation cannot be fulfilled on pods "x": …`.
#[must_use]
pub fn conflict(subject: &Subject, why: &str) -> Error {
    let text =
        format!("Operation cannot be fulfilled on {} {:?}: {why}", subject.group_resource(), subject.name);
    Error::new(Kind::Conflict, text)
}

/// The conflict of a stale `resourceVersion`.
#[must_use]
pub fn modified(subject: &Subject) -> Error {
    conflict(
        subject,
        "the object has been modified; please apply your changes to the latest version and try again",
    )
}

/// `Pod "x" is invalid: spec.containers: Required value`. Of causes without end only the first are told.
#[must_use]
pub fn invalid(subject: &Subject, causes: impl IntoIterator<Item = FieldCause>) -> Error {
    let mut told = Told::default();
    told.extend(causes);
    let causes = told.into_all();
    let text = format!("{} {:?} is invalid: {}", subject.group_kind(), subject.name, field::lines(&causes));
    Error::new(Kind::Invalid, text).with_causes(causes)
}

/// The revision asked for is no longer kept: 410.
#[must_use]
pub fn expired(message: impl Into<String>) -> Error {
    Error::new(Kind::FailedPrecondition, message).with_causes(vec![FieldCause {
        reason: EXPIRED.to_owned(),
        message: "the revision is no longer kept, list again".to_owned(),
        field: "metadata.resourceVersion".to_owned(),
    }])
}

/// Whether an error says that a revision is no longer kept.
#[must_use]
pub fn is_expired(error: &Error) -> bool {
    error.causes().iter().any(|cause| cause.reason == EXPIRED)
}

/// The HTTP code and reason of an error.
#[must_use]
pub fn code_and_reason(error: &Error) -> (u16, &'static str) {
    match error.kind() {
        Kind::NotFound => (404, "NotFound"),
        Kind::AlreadyExists => (409, "AlreadyExists"),
        Kind::Invalid if error.causes().is_empty() => (400, "BadRequest"),
        Kind::Invalid => (422, "Invalid"),
        Kind::FailedPrecondition if is_expired(error) => (410, EXPIRED),
        Kind::Conflict | Kind::FailedPrecondition => (409, "Conflict"),
        Kind::Unauthorized => (401, "Unauthorized"),
        Kind::Forbidden => (403, "Forbidden"),
        Kind::Exhausted => (429, "TooManyRequests"),
        Kind::Unavailable => (503, "ServiceUnavailable"),
        Kind::DeadlineExceeded | Kind::Cancelled => (504, "Timeout"),
        Kind::Unimplemented => (501, "NotImplemented"),
        Kind::DataLoss | Kind::Internal => (500, "InternalError"),
    }
}

fn kind_of(code: u16, reason: &str) -> Kind {
    match (reason, code) {
        ("NotFound", _) => Kind::NotFound,
        ("AlreadyExists", _) => Kind::AlreadyExists,
        ("Conflict", _) => Kind::Conflict,
        (EXPIRED | "Gone", _) => Kind::FailedPrecondition,
        ("Invalid" | "BadRequest", _) => Kind::Invalid,
        (_, 401) => Kind::Unauthorized,
        (_, 403) => Kind::Forbidden,
        (_, 404) => Kind::NotFound,
        (_, 405 | 406 | 415 | 501) => Kind::Unimplemented,
        (_, 409) => Kind::Conflict,
        (_, 410) => Kind::FailedPrecondition,
        (_, 429) => Kind::Exhausted,
        (_, 503) => Kind::Unavailable,
        (_, 504) => Kind::DeadlineExceeded,
        (_, 400..=499) => Kind::Invalid,
        _ => Kind::Internal,
    }
}

impl Status {
    fn base(status: &str, code: u16) -> Self {
        Self {
            kind: "Status".to_owned(),
            api_version: "v1".to_owned(),
            status: status.to_owned(),
            code,
            ..Self::default()
        }
    }

    /// Success without an object, as a finished deletion answers.
    #[must_use]
    pub fn success() -> Self {
        Self::base("Success", 200)
    }

    /// Success about an object.
    #[must_use]
    pub fn success_about(subject: &Subject, uid: &str) -> Self {
        let mut status = Self::success();
        status.details = Some(StatusDetails {
            name: subject.name.clone(),
            group: subject.group.clone(),
            kind: subject.resource.clone(),
            uid: uid.to_owned(),
            ..StatusDetails::default()
        });
        status
    }

    /// A failure that is no error of ours, such as 405, 406 or 415.
    #[must_use]
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        let mut status = Self::base("Failure", code);
        reason.clone_into(&mut status.reason);
        status.message = message.into();
        status
    }

    /// The failure an error stands for; `subject` says what the request was about.
    #[must_use]
    pub fn from_error(error: &Error, subject: Option<&Subject>) -> Self {
        let (code, reason) = code_and_reason(error);
        let mut status = Self::failure(code, reason, message_of(error));
        let cause = |cause: &FieldCause| StatusCause {
            reason: cause.reason.clone(),
            message: cause.message.clone(),
            field: cause.field.clone(),
        };
        let causes: Vec<StatusCause> = error.causes().iter().map(cause).collect();
        let about = subject.filter(|subject| !subject.resource.is_empty() || !subject.kind.is_empty());
        if about.is_some() || !causes.is_empty() || code == 429 {
            let subject = about.cloned().unwrap_or_default();
            status.details = Some(StatusDetails {
                name: subject.name,
                group: subject.group,
                kind: if code == 422 { subject.kind } else { subject.resource },
                causes,
                retry_after_seconds: (code == 429).then_some(1),
                ..StatusDetails::default()
            });
        }
        status
    }

    /// The error this failure stands for.
    #[must_use]
    pub fn to_error(&self) -> Error {
        let mut kind = kind_of(self.code, &self.reason);
        let cause = |cause: &StatusCause| FieldCause {
            reason: cause.reason.clone(),
            message: cause.message.clone(),
            field: cause.field.clone(),
        };
        let causes = self.details.iter().flat_map(|details| &details.causes).map(cause).collect();
        if kind == Kind::FailedPrecondition {
            return expired(self.message.clone());
        }
        if self.reason == "Timeout" {
            kind = Kind::DeadlineExceeded;
        }
        Error::new(kind, self.message.clone()).with_causes(causes)
    }

    /// Whether it says that a revision is no longer kept.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.code == 410
    }
}

/// Faults of the caller are told whole; of our own only the chain, which names no secrets.
fn message_of(error: &Error) -> String {
    match error.kind() {
        Kind::Internal | Kind::DataLoss => format!("Internal error occurred: {}", error.chain()),
        _ => error.chain(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Subject {
        Subject { group: String::new(), resource: "pods".into(), kind: "Pod".into(), name: "x".into() }
    }

    #[test]
    fn messages_are_the_apis() {
        assert_eq!(not_found(&pod()).to_string(), "pods \"x\" not found");
        let error = invalid(&pod(), vec![field::required("spec.containers", "")]);
        assert_eq!(error.to_string(), "Pod \"x\" is invalid: spec.containers: Required value");
        let status = Status::from_error(&error, Some(&pod()));
        assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
        let details = status.details.unwrap();
        assert_eq!((details.kind.as_str(), details.causes.len()), ("Pod", 1));
    }

    #[test]
    fn what_is_told_of_an_object_has_an_end() {
        let causes = (0..100_000).map(|at| field::required(format!("spec.containers[{at}].name"), ""));
        let error = invalid(&pod(), causes);
        assert!(
            error.to_string().len() < 1 << 20 && error.causes().len() < 20_000,
            "{}",
            error.causes().len()
        );
        assert!(error.to_string().contains("there is more wrong than is shown"));
    }

    #[test]
    fn every_kind_survives_the_wire() {
        for kind in [
            Kind::NotFound,
            Kind::AlreadyExists,
            Kind::Invalid,
            Kind::Conflict,
            Kind::Unauthorized,
            Kind::Forbidden,
            Kind::Exhausted,
            Kind::Unavailable,
            Kind::DeadlineExceeded,
            Kind::Unimplemented,
            Kind::Internal,
        ] {
            let status = Status::from_error(&Error::new(kind, "it"), None);
            let bytes = serde_json::to_vec(&status).unwrap();
            let back: Status = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(back.to_error().kind(), kind, "{kind}");
        }
        let status = Status::from_error(&expired("too old"), None);
        assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
        assert!(is_expired(&status.to_error()));
    }
}
