//! Server-side apply: who owns which field.
//!
//! Owns: `metadata.managedFields`, the merge of an applied configuration ([`apply`]), the tracking of all other
//! writes ([`track`]), and both for objects that are written in several versions ([`versions`]).
//! Does not own: defaults; the caller defaults after [`apply`], and nobody owns what was defaulted.
//!
//! Invariant: a field that is owned changes only through an owner, or its other owners lose it.

mod conflict;
mod managers;
mod merge;
mod overlay;
mod track;
mod versions;

#[cfg(test)]
mod tests;

pub use conflict::{ApplyError, Conflict};
pub use managers::{Manager, Operation};
pub(crate) use overlay::overlay;
pub use track::{Write, track};
pub(crate) use versions::{Versions, apply_across, has_other_versions, track_across, versions_of};

use super::fields::{FieldSet, Path, Step};
use crate::schema::{Shape, model};
use jiff::Timestamp;
use managers::Managers;
use serde_json::{Value, json};
use std::sync::LazyLock;

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
    /// Now.
    pub now: Timestamp,
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The object after the application, with its `managedFields`.
///
/// # Errors
/// Conflicts with other owners unless forced; a configuration that brings `managedFields`.
pub fn apply(request: Apply<'_>) -> Result<Value, ApplyError> {
    let (model, shape) = (model(), request.shape);
    if !managers::entries(request.applied).is_empty() {
        return Err(ApplyError::ManagedFields);
    }
    let empty = json!({});
    let live = request.live.unwrap_or(&empty);
    let mut managers = Managers::decode(live);
    managers.adopt_untracked(live, shape, request.api_version, request.manager);
    let applied = request.applied;
    let set = owned(shape, applied, request.subresource);
    let me = Manager::applying(request.manager, request.api_version, request.subresource);

    let mut object = merge::merge(model, shape, live, applied);
    let mut conflicts = conflict::find(&managers, &me, shape, live, &object, &set);
    if request.manager == "kubectl" && !request.force {
        conflict::forgive_last_applied(&mut conflicts, &mut managers, live);
    }
    if !conflicts.is_empty() && !request.force {
        return Err(ApplyError::Conflicts(conflicts));
    }
    for conflict in &conflicts {
        managers.take(&conflict.manager, &conflict.path);
    }
    let before = with_holders(shape, managers.set_of(&me));
    let mut gone = FieldSet::default();
    for path in before.difference(&set).paths() {
        if !set.has_below(&path) && !managers.is_owned_by_others(&me, &path) {
            gone.insert(&path);
        }
    }
    merge::remove_all(model, shape, &mut object, &gone);
    // An emptied list or map may have been applied as such.
    object = merge::merge(model, shape, &object, applied);
    if request.manager == "kubectl" {
        update_last_applied(live, applied, &mut object);
    }
    let has_changed = without_managed(&object) != without_managed(live);
    managers.set(me, set, has_changed, request.now);
    managers.drop_missing(shape, &object);
    managers.encode(&mut object);
    Ok(object)
}

/// The fields of an object that can be owned.
fn owned(shape: &Shape, object: &Value, subresource: &str) -> FieldSet {
    let mut set = FieldSet::of(model(), shape, object);
    strip(&mut set, subresource);
    set
}

/// Adds the objects that hold the fields of a set: they go together, with what was defaulted in them, unless somebody
/// owns anything in them. The metadata stay, they have what belongs to the system.
fn with_holders(shape: &Shape, set: FieldSet) -> FieldSet {
    let mut set = set.with_named_fields(model(), shape);
    set.remove(std::slice::from_ref(&*METADATA));
    set
}

static METADATA: LazyLock<Step> = LazyLock::new(|| Step::Field("metadata".to_owned()));
/// What of the metadata belongs to the system.
const SYSTEM: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Takes out what belongs to the system, and what the written path does not reach.
fn strip(set: &mut FieldSet, subresource: &str) {
    let is_of = |step: &Step, names: &[&str]| matches!(step, Step::Field(name) if names.contains(&&**name));
    set.remove(&[]);
    if subresource == "status" {
        return set.retain(|step| is_of(step, &["status"]));
    }
    set.retain(|step| !is_of(step, &["apiVersion", "kind", "status"]));
    set.within(&METADATA, |metadata| {
        metadata.remove(&[]);
        metadata.retain(|step| !is_of(step, SYSTEM));
    });
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
