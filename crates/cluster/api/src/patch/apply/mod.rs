//! Server-side apply: who owns which field.
//!
//! Owns: `metadata.managedFields`, the merge of an applied configuration ([`apply`]), the tracking of all other
//! writes ([`track`]), and both for objects that are written in several versions ([`versions`]).
//! Does not own: defaults; the caller defaults after [`apply`], and nobody owns what was defaulted.
//!
//! Invariant: a field that is owned changes only through an owner, or its other owners lose it.

mod compare;
mod conflict;
mod duplicates;
mod given;
mod managers;
mod merge;
mod overlay;
mod prune;
mod reach;
mod record;
mod track;
mod typed;
mod versions;

#[cfg(test)]
mod tests;

pub use conflict::{ApplyError, Conflict};
pub(crate) use given::{fault, faults, manager_faults};
pub use managers::{Manager, Operation};
pub(crate) use overlay::overlay;
pub use reach::{METADATA_OF_ALL, Reach};
pub use record::Record;
pub(crate) use record::taken;
pub(crate) use track::track_apart;
pub use track::{Write, track};
pub(crate) use typed::fits;
pub(crate) use versions::{
    Versions, apply_across, has_other_versions, names_other_versions, track_across, versions_in,
};

use super::fields::{FieldSet, Path, Step};
use crate::schema::{Shape, model};
use compare::Changes;
use jiff::Timestamp;
use managers::Managers;
use serde_json::{Value, json};

/// One application of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Apply<'a> {
    /// What the object looks like.
    pub shape: &'a Shape,
    /// What is there now.
    pub live: Option<&'a Value>,
    /// What is applied, checked against its type.
    pub applied: &'a Value,
    /// Who applies.
    pub manager: &'a str,
    /// Whether to take fields from their other owners.
    pub force: bool,
    /// The version of the API in use, such as `apps/v1`.
    pub api_version: &'a str,
    /// Empty, or the subresource, such as `status`.
    pub subresource: &'a str,
    /// What can be owned through that.
    pub reach: Reach,
    /// Now.
    pub now: Timestamp,
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The object after the application, with its `managedFields`.
///
/// # Errors
/// Conflicts with other owners unless forced; a configuration that brings `managedFields`.
pub fn apply(request: Apply<'_>) -> Result<Value, ApplyError> {
    let empty = json!({});
    let live = request.live.unwrap_or(&empty);
    let Begun { mut managers, me, before, merged, .. } = begin(&request, live, |_| Some(request.shape))?;
    let mut object = merged;
    if !before.is_empty() && !managers.has_all(&me, &before) {
        object = prune::alone(request.shape, object, &before, &managers.all());
        // An emptied list or map may have been applied as such.
        object = merge::merge(model(), request.shape, &object, request.applied);
    }
    let changes = Changes::of(request.shape, live, &object).within(request.reach);
    conflict::settle(&request, live, managers.conflicts(None, &me, &changes))?;
    managers.lose(None, Some(&me), &changes);
    Ok(finish(&request, live, object, managers, &me))
}

/// An application of which the owners are reckoned.
struct Begun {
    managers: Managers,
    me: Manager,
    /// In which version the manager applied before, and what.
    version: Option<String>,
    before: FieldSet,
    /// What is there with all that is applied, and with what is applied no more.
    merged: Value,
}

fn begin<'a>(
    request: &Apply<'_>,
    live: &Value,
    shape_in: impl Fn(&str) -> Option<&'a Shape>,
) -> Result<Begun, ApplyError> {
    if !managers::entries(request.applied).is_empty() {
        return Err(ApplyError::ManagedFields);
    }
    let (shape, applied) = (request.shape, request.applied);
    let duplicates = duplicates::find(shape, applied);
    if !duplicates.is_empty() {
        return Err(ApplyError::Typed { object: subject(applied), faults: duplicates });
    }
    let mut managers = Managers::decode(live);
    managers.reconcile(shape_in);
    managers.adopt_untracked(request, live);
    let me = Manager::applying(request.manager, request.api_version, request.subresource);
    let (version, before) = (managers.version_of(&me), managers.set_of(&me));
    let mut set = FieldSet::of(model(), shape, applied);
    request.reach.strip(&mut set);
    managers.set(me.clone(), set);
    Ok(Begun { managers, me, version, before, merged: merge::merge(model(), shape, live, applied) })
}

fn finish(
    request: &Apply<'_>,
    live: &Value,
    mut object: Value,
    mut managers: Managers,
    me: &Manager,
) -> Value {
    // As upstream has it, who applies nothing new has no time.
    if without_managed(&object) != without_managed(live) {
        managers.touch(me, request.now);
    }
    if request.manager == "kubectl" {
        update_last_applied(live, request.applied, &mut object);
    }
    managers.encode(&mut object);
    object
}

/// What a configuration is about, as upstream names it.
fn subject(applied: &Value) -> String {
    let text = |path: &str| applied.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let api_version = text("/apiVersion");
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{namespace}/{name}; {slash}{api_version}, Kind={}", text("/kind"))
}

fn without_managed(object: &Value) -> Value {
    let mut copy = object.clone();
    if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    copy
}

/// Keeps the annotation of client-side apply true, for users who go back to it.
fn update_last_applied(live: &Value, applied: &Value, object: &mut Value) {
    let has_annotation = |object: &Value| object["metadata"]["annotations"].get(LAST_APPLIED).is_some();
    if has_annotation(live) && !has_annotation(applied) {
        object["metadata"]["annotations"][LAST_APPLIED] = format!("{applied}\n").into();
    }
}
