//! What is stored, asked and answered. Plain data; bytes are shared, never copied, between readers and watchers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::embedded::Run;

/// A point in the one order of all writes. Zero is before the first write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first write.
    pub const ZERO: Self = Self(0);

    /// No store comes this far: clients keep revisions as numbers of 63 bits. Beyond it is damage.
    pub const LAST: Self = Self(i64::MAX as u64);

    /// The revision that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a lease. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One key with its value at the revision that last changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// The value; empty in the entry of a [`EventKind::Delete`].
    pub value: Bytes,
    /// The revision that brought the key into being.
    pub created: Revision,
    /// The revision that last changed it.
    pub modified: Revision,
    /// The lease it ends with.
    pub lease: Option<LeaseId>,
}

/// The answer to a read of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The entry, if there is one.
    pub entry: Option<Arc<Entry>>,
    /// The store's revision when it was read.
    pub revision: Revision,
}

/// A question about the keys below a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Keys that start with this; empty for all.
    pub prefix: Bytes,
    /// Only keys greater than this: the last key of the page before.
    pub start_after: Option<Bytes>,
    /// At most so many entries; zero for all.
    pub limit: usize,
    /// As it was at this revision instead of now: that of the first page, so that all pages fit together.
    pub at: Option<Revision>,
}

impl Range {
    /// All keys below `prefix`, now.
    pub fn all(prefix: impl Into<Bytes>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }
}

/// The answer to a [`Range`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Entries in the order of their keys.
    pub entries: Vec<Arc<Entry>>,
    /// Whether the limit cut it short.
    pub more: bool,
    /// How many entries follow.
    pub remaining: u64,
    /// The revision that the page shows.
    pub revision: Revision,
}

/// Entries below a prefix in the order of their keys, in the pieces in which they are kept.
#[derive(Clone, Debug)]
pub struct Sections {
    /// The pieces.
    pub sections: Vec<Section>,
    /// The revision that they show.
    pub revision: Revision,
}

/// Entries that follow each other; at least one.
#[derive(Clone, Debug)]
pub struct Section {
    run: Arc<Run>,
    places: std::ops::Range<usize>,
}

/// The name of certain entries at certain revisions, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SectionId(u64, usize, usize);

impl Section {
    pub(crate) const fn new(run: Arc<Run>, places: std::ops::Range<usize>) -> Self {
        Self { run, places }
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.run.entries()[self.places.clone()]
    }

    /// Two sections with one id have the same entries. After a write that is below neither its keys nor near them, a
    /// section has the id that it had.
    #[must_use]
    pub fn id(&self) -> SectionId {
        SectionId(self.run.id(), self.places.start, self.places.end)
    }
}

/// What a key has to be for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is none.
    Absent,
    /// Last changed by this revision.
    At(Revision),
    /// Whatever it is; a delete of an absent key is still [`crate::StoreError::NotFound`].
    Any,
}

/// What a write does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets the value.
    Put {
        /// The new value.
        value: Bytes,
        /// The lease the key ends with; `None` detaches it from any.
        lease: Option<LeaseId>,
    },
    /// Removes the key.
    Delete,
}

impl Op {
    /// Bytes of the value.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put { value, .. } => value.len(),
            Self::Delete => 0,
        }
    }

    /// The lease that the key is to end with.
    pub(crate) fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Put { lease, .. } => *lease,
            Self::Delete => None,
        }
    }
}

/// One conditional change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Bytes,
    /// The condition.
    pub expect: Expect,
    /// The change.
    pub op: Op,
    /// Other keys that have to be as they were read.
    pub guards: Vec<Guard>,
    /// Changes of other keys in the same step: all of it happens, or nothing.
    pub along: Vec<Along>,
}

/// A change of another key in the step of a write. If that key is not as expected, the write is refused as
/// [`crate::StoreError::Outdated`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Along {
    /// The key, which no other change of the step is about.
    pub key: Bytes,
    /// The condition.
    pub expect: Expect,
    /// The change.
    pub op: Op,
}

/// Another key that a write relies on: whatever is written in a namespace relies on that namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The key.
    pub key: Bytes,
    /// The revision that changed it last.
    pub at: Revision,
}

impl Write {
    /// Creates a key that must not exist.
    pub fn create(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::put(key, value, Expect::Absent)
    }

    /// Replaces a key that was last changed by `at`.
    pub fn update(key: impl Into<Bytes>, value: impl Into<Bytes>, at: Revision) -> Self {
        Self::put(key, value, Expect::At(at))
    }

    /// Puts a key without a lease.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>, expect: Expect) -> Self {
        let op = Op::Put { value: value.into(), lease: None };
        Self { key: key.into(), expect, op, guards: Vec::new(), along: Vec::new() }
    }

    /// Deletes a key.
    pub fn delete(key: impl Into<Bytes>, expect: Expect) -> Self {
        Self { key: key.into(), expect, op: Op::Delete, guards: Vec::new(), along: Vec::new() }
    }

    /// The same, if other keys are as they were read.
    #[must_use]
    pub fn guarded(self, guards: Vec<Guard>) -> Self {
        Self { guards, ..self }
    }

    /// The same, with changes of other keys.
    #[must_use]
    pub fn along(self, along: Vec<Along>) -> Self {
        Self { along, ..self }
    }
}

/// An acknowledged write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The write's revision: after a put the key's `modified`.
    pub revision: Revision,
    /// What the key was before.
    pub previous: Option<Arc<Entry>>,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was created (no `previous`) or changed.
    Put,
    /// It was deleted, by a write or with its lease.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key as it is since; for a delete the key alone, `modified` being the delete's revision.
    pub entry: Arc<Entry>,
    /// The key as it was before.
    pub previous: Option<Arc<Entry>>,
}

impl Event {
    /// The revision of the change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.entry.modified
    }
}

/// A lease as granted or kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lives from now if nobody keeps it alive.
    pub ttl: Duration,
}

/// How a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The newest revision.
    pub revision: Revision,
    /// History up to and including this revision is gone.
    pub compacted: Revision,
    /// Keys.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Bytes on disk, if the implementation knows.
    pub disk_bytes: u64,
    /// What is kept for watches and older revisions alone, if the implementation knows.
    pub history: Option<HistorySize>,
    /// Why writes are being refused, if they are.
    pub refusing: Option<String>,
}

/// How much history there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistorySize {
    /// Events.
    pub events: u64,
    /// Bytes that live only because of them.
    pub bytes: u64,
}
