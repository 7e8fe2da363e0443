//! Every write that is no application: what it changed belongs to the writer, and to nobody else.

use super::Reach;
use super::compare::Changes;
use super::given;
use super::managers::{self, Manager, Managers};
use super::record::{self, Record};
use crate::schema::Shape;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// One write that is no application.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// What the object looks like.
    pub shape: &'a Shape,
    /// What was there.
    pub live: Option<&'a Value>,
    /// Who writes.
    pub manager: &'a str,
    /// The version of the API in use, such as `apps/v1`.
    pub api_version: &'a str,
    /// Empty, or the subresource, such as `status`.
    pub subresource: &'a str,
    /// What can be owned through that.
    pub reach: Reach,
    /// Now.
    pub now: Timestamp,
}

/// Sets the `managedFields` of `new`, the object after the write.
///
/// A writer may set `managedFields` itself; what cannot be read, or is missing, is taken from the live object, and a
/// list of one empty entry forgets all, until somebody applies.
pub fn track(write: Write<'_>, new: &mut Value) {
    let mut live = write.live.cloned();
    let record = live.as_mut().map_or_else(Record::default, Record::take);
    let given = record::taken(new);
    let write = Write { live: live.as_ref(), ..write };
    track_apart(write, &record, given.as_ref(), new).put(new);
}

/// The same for objects that do not have it with them: who owned what before, what the writer has set, and who owns what
/// after the write.
pub(crate) fn track_apart(write: Write<'_>, record: &Record, given: Option<&Value>, new: &Value) -> Record {
    let mut managers = match Start::of(&write, record, given) {
        Start::Tracked(managers) => managers,
        Start::Said(managers) => return managers.write(),
    };
    managers.reconcile(|_| Some(write.shape));
    let empty = json!({});
    let changes = Changes::of(write.shape, write.live.unwrap_or(&empty), new).within(write.reach);
    managers.lose(None, None, &changes);
    if !changes.changed.is_empty() {
        let me = Manager::updating(write.manager, write.api_version, write.subresource);
        managers.add(me, changes.changed, write.now);
    }
    managers.write()
}

/// With whom a write begins.
pub(super) enum Start {
    /// What it changes is noted in these.
    Tracked(Managers),
    /// These it is to be, whatever it changes.
    Said(Managers),
}

impl Start {
    pub(super) fn of(write: &Write<'_>, record: &Record, given: Option<&Value>) -> Self {
        let entries = given.map_or(&[] as &[Value], managers::items);
        let is_reset = matches!(entries, [one] if one.as_object().is_some_and(Map::is_empty));
        if is_reset && write.live.is_some() && write.subresource.is_empty() {
            return Self::Said(Managers::default());
        }
        // One that cannot be read makes nothing of all of them.
        let is_read = given.is_some_and(|given| given::fault(given).is_none());
        let given = if is_read { Managers::of(entries) } else { Managers::default() };
        let is_given = given != Managers::default() && write.subresource.is_empty();
        let managers = match write.live {
            Some(_) if !is_given => Managers::read(record),
            None if !is_given => Managers::default(),
            _ => given,
        };
        // What nobody has tracked so far is first tracked when somebody applies: then all of it is of the time before.
        if write.live.is_some() && managers == Managers::default() {
            return Self::Said(managers);
        }
        Self::Tracked(managers)
    }
}
