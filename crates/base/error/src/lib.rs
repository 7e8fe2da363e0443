//! The shared kinds of error.
//!
//! Owns: what went wrong in the abstract ([`Kind`]), whose fault it is ([`Fault`]), whether trying again can
//! help ([`Retry`]), and the error that crosses crate borders ([`Error`]).
//! Does not own: any wire format; each edge maps a [`Kind`] once.
//!
//! A module describes its own failures in a `thiserror` enum that implements [`Classify`]; `?` then turns it
//! into an [`Error`] at the crate's border, keeping the whole chain of causes as its source.
//!
//! Invariant: nobody decides by an error's text. Decisions use the kind, people read the text.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong, independent of protocol. Close to the canonical codes of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The named object does not exist.
    NotFound,
    /// An object of that name exists already.
    AlreadyExists,
    /// The input can never be accepted as it is.
    Invalid,
    /// The object changed since the caller read it.
    Conflict,
    /// The input is sound, the system's present state forbids it.
    FailedPrecondition,
    /// The caller did not prove who it is.
    Unauthorized,
    /// The caller is known and may not do this.
    Forbidden,
    /// A bound was reached: space, a quota, a queue.
    Exhausted,
    /// Something needed is not there now; it may come back.
    Unavailable,
    /// The time allowed ran out.
    DeadlineExceeded,
    /// The caller withdrew.
    Cancelled,
    /// Known and not built, or not supported by this kernel.
    Unimplemented,
    /// Stored bytes are not what was stored.
    DataLoss,
    /// An invariant of ours is broken.
    Internal,
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller's: the same call will fail again.
    Caller,
    /// Ours or the machine's.
    System,
}

/// Whether the same call can succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No: the call itself has to change.
    Never,
    /// After reading the object again.
    AfterRefresh,
    /// Yes, with back-off.
    Backoff,
}

impl Kind {
    /// The kind of a failed call on files of our own: a full disk or quota is a bound that was reached, all else is not
    /// foreseen.
    #[must_use]
    pub fn of_io(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Exhausted,
            _ => Self::Internal,
        }
    }

    /// The kind's name as logs and machine-readable output show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::FailedPrecondition => "failed precondition",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Exhausted => "exhausted",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::Cancelled => "cancelled",
            Self::Unimplemented => "unimplemented",
            Self::DataLoss => "data loss",
            Self::Internal => "internal",
        }
    }

    /// Whose fault an error of this kind is.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::NotFound
            | Self::AlreadyExists
            | Self::Invalid
            | Self::Conflict
            | Self::FailedPrecondition
            | Self::Unauthorized
            | Self::Forbidden
            | Self::Cancelled
            | Self::Unimplemented => Fault::Caller,
            Self::Exhausted
            | Self::Unavailable
            | Self::DeadlineExceeded
            | Self::DataLoss
            | Self::Internal => Fault::System,
        }
    }

    /// Whether trying again can help.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            Self::Conflict => Retry::AfterRefresh,
            Self::Exhausted | Self::Unavailable | Self::DeadlineExceeded => Retry::Backoff,
            _ => Retry::Never,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A module's error says which shared kind each of its variants is.
pub trait Classify: StdError + Send + Sync + 'static {
    /// The shared kind of this error.
    fn kind(&self) -> Kind;

    /// The faulty fields, where the error is about an input with fields.
    fn causes(&self) -> Vec<FieldCause> {
        Vec::new()
    }
}

/// One faulty field of an input: a configuration or an object reports all its faults at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldCause {
    /// Machine-readable reason in Kubernetes' words, such as `FieldValueRequired`.
    pub reason: String,
    /// What is wrong, for people, without the field's name.
    pub message: String,
    /// The path from the input's root, such as `spec.containers[0].name`.
    pub field: String,
}

/// The error that crosses crate borders: a kind, a sentence and the chain of causes.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    causes: Vec<FieldCause>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Shorthand for results at crate borders.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that says it all by itself: lower case, no full stop, naming the object and the next step.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), causes: Vec::new(), source: None }))
    }

    /// Adds the underlying error; its text is not to be repeated in the message.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the faulty fields.
    #[must_use]
    pub fn with_causes(mut self, causes: Vec<FieldCause>) -> Self {
        self.0.causes = causes;
        self
    }

    /// Says what was being done when this error came up; kind and causes stay.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        let (kind, causes) = (self.0.kind, self.0.causes.clone());
        Self(Box::new(Inner { kind, message: message.into(), causes, source: Some(Box::new(self)) }))
    }

    /// The shared kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The faulty fields, if the error is about an input.
    #[must_use]
    pub fn causes(&self) -> &[FieldCause] {
        &self.0.causes
    }

    /// Whether it is a [`Kind::NotFound`], the kind most often asked for.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.0.kind == Kind::NotFound
    }

    /// The whole chain on one line, `outer: inner: innermost`.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.0.message.clone();
        let mut next = StdError::source(self);
        while let Some(cause) = next {
            line.push_str(": ");
            line.push_str(&cause.to_string());
            next = cause.source();
        }
        line
    }
}

impl<E: Classify> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Box::new(Inner {
            kind: error.kind(),
            message: error.to_string(),
            causes: error.causes(),
            source: Inner::rest_of_chain(&error),
        }))
    }
}

impl Inner {
    /// Keeps what lies below `error` as text, level by level: the enum itself cannot be kept twice.
    fn rest_of_chain(error: &dyn StdError) -> Option<Box<dyn StdError + Send + Sync>> {
        let cause = error.source()?;
        Some(Box::new(Cause { text: cause.to_string(), source: Self::rest_of_chain(cause) }))
    }
}

/// One level of a chain of causes after it crossed a crate border.
#[derive(Debug)]
struct Cause {
    text: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Open {
        #[error("open {path}")]
        Io { path: String, source: std::io::Error },
    }

    impl Classify for Open {
        fn kind(&self) -> Kind {
            match self {
                Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Kind::NotFound,
                Self::Io { .. } => Kind::Internal,
            }
        }
    }

    fn open() -> Result<()> {
        let source = std::io::Error::from_raw_os_error(2);
        Err(Open::Io { path: "/x".into(), source })?;
        Ok(())
    }

    #[test]
    fn question_mark_keeps_kind_and_chain() {
        let error = open().unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.chain(), "open /x: No such file or directory (os error 2)");
    }

    #[test]
    fn context_keeps_the_kind_and_the_causes() {
        let cause = FieldCause {
            reason: "FieldValueRequired".into(),
            message: "Required value".into(),
            field: "spec".into(),
        };
        let error = Error::new(Kind::Invalid, "inner").with_causes(vec![cause.clone()]).context("outer");
        assert_eq!((error.kind(), error.causes()), (Kind::Invalid, &[cause][..]));
        assert_eq!(error.chain(), "outer: inner");
    }

    #[test]
    fn a_full_disk_is_a_bound_that_was_reached() {
        let kind = |number| Kind::of_io(&std::io::Error::from_raw_os_error(number));
        const ENOSPC: i32 = 28;
        const EDQUOT: i32 = 122;
        const EIO: i32 = 5;
        assert_eq!(
            [kind(ENOSPC), kind(EDQUOT), kind(EIO)],
            [Kind::Exhausted, Kind::Exhausted, Kind::Internal]
        );
    }
}
