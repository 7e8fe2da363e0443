//! Ownership in objects that are written in several versions: the fields of a manager are those of the version in which
//! it writes. What a write does to them is seen by converting the object, as it was and as it is then, to that version.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use hako_error::Error;
use serde_json::Value;

use super::compare::Changes;
use super::managers::{self, Manager, Managers};
use super::track::Start;
use super::{Apply, Begun, Reach, Record, Write, begin, conflict, finish, merge, prune};
use crate::patch::fields::FieldSet;
use crate::schema::{Shape, model};

/// The versions of a kind.
pub(crate) trait Versions: Sync {
    /// What objects look like in a version; none if there is no such version.
    fn shape(&self, api_version: &str) -> Option<&Shape>;

    /// Objects, which say in what version they are, in another one.
    fn convert(&self, objects: Vec<Value>, api_version: &str) -> BoxFuture<'_, Result<Vec<Value>, Error>>;
}

/// Whether an object has managers that write it in another version.
pub(crate) fn has_other_versions(object: &Value, api_version: &str) -> bool {
    managers::entries(object).iter().any(|entry| entry["apiVersion"] != api_version)
}

/// The same of managers that a writer has set.
pub(crate) fn names_other_versions(given: &Value, api_version: &str) -> bool {
    managers::items(given).iter().any(|entry| entry["apiVersion"] != api_version)
}

/// The versions in which managers write that are listed.
pub(crate) fn versions_in(list: &Value) -> impl Iterator<Item = &str> {
    managers::items(list).iter().filter_map(|entry| entry["apiVersion"].as_str())
}

/// What a write does to the fields of an object, in every version that somebody writes it in.
async fn changes_in_all(
    managers: &Managers,
    old: &Value,
    new: &Value,
    reach: Reach,
    all: &impl Versions,
) -> Result<BTreeMap<String, Changes>, Error> {
    let mut changes = BTreeMap::new();
    for version in managers.versions() {
        let Some(shape) = all.shape(&version) else { continue };
        let pair = in_version(all, vec![old.clone(), new.clone()], &version).await?;
        if let [old, new] = pair.as_slice() {
            changes.insert(version, Changes::of(shape, old, new).within(reach));
        }
    }
    Ok(changes)
}

async fn in_version(all: &impl Versions, objects: Vec<Value>, version: &str) -> Result<Vec<Value>, Error> {
    match objects.first() {
        Some(object) if object["apiVersion"] != version => all.convert(objects, version).await,
        _ => Ok(objects),
    }
}

/// As [`super::apply`], for an object that others write in other versions.
///
/// # Errors
/// Those of an application, and of conversion.
pub(crate) async fn apply_across(
    request: Apply<'_>,
    live: &Value,
    all: &impl Versions,
) -> Result<Value, Error> {
    let Begun { mut managers, me, version, before, merged } =
        begin(&request, live, |version| all.shape(version))?;
    managers.retain(|manager| all.shape(&manager.api_version).is_some());
    let mut object = merged;
    let has_moved = version.as_deref().is_some_and(|version| version != request.api_version);
    if let Some(version) = version.filter(|_| has_moved || !managers.has_all(&me, &before)) {
        object = pruned(object, &version, &before, &managers, request.api_version, all).await?;
        // An emptied list or map may have been applied as such.
        object = merge::merge(model(), request.shape, &object, request.applied);
    }
    let changes = changes_in_all(&managers, live, &object, request.reach, all).await?;
    let conflicts = |(version, changes): (&String, &Changes)| managers.conflicts(Some(version), &me, changes);
    conflict::settle(&request, live, changes.iter().flat_map(conflicts).collect())?;
    for (version, changes) in &changes {
        managers.lose(Some(version), Some(&me), changes);
    }
    Ok(finish(&request, live, object, managers, &me))
}

/// Without what a manager applied before, in the version of then, unless somebody has it, or it has it again.
async fn pruned(
    object: Value,
    version: &str,
    before: &FieldSet,
    managers: &Managers,
    own: &str,
    all: &impl Versions,
) -> Result<Value, Error> {
    let Some(shape) = all.shape(version) else { return Ok(object) };
    let before = prune::holders(shape, before);
    let object = in_version(all, vec![object], version).await?.pop().unwrap_or_default();
    let rest = prune::without(shape, &object, &before);
    let mut pair = vec![object.clone(), rest];
    // Of that version first: no object can be converted without what is required in it.
    let mut order: Vec<String> = managers.versions().into_iter().collect();
    order.sort_by_key(|other| other != version);
    for version in order {
        let Some(shape) = all.shape(&version) else { continue };
        pair = in_version(all, pair, &version).await?;
        if let [whole, rest] = pair.as_mut_slice() {
            *rest = prune::add_back(shape, whole, rest, &managers.set_in(&version));
        }
    }
    let rest = in_version(all, pair, version).await?.pop().unwrap_or_default();
    let object = prune::without_missing(shape, object, &rest, &before);
    Ok(in_version(all, vec![object], own).await?.pop().unwrap_or_default())
}

/// As [`super::track_apart`], for an object that others write in other versions.
///
/// # Errors
/// Those of conversion.
pub(crate) async fn track_across(
    write: Write<'_>,
    record: &Record,
    given: Option<&Value>,
    (live, new): (&Value, &Value),
    all: &impl Versions,
) -> Result<Record, Error> {
    let mut managers = match Start::of(&write, record, given) {
        Start::Tracked(managers) => managers,
        Start::Said(managers) => return Ok(managers.write()),
    };
    managers.retain(|manager| all.shape(&manager.api_version).is_some());
    managers.reconcile(|version| all.shape(version));
    let own = Changes::of(write.shape, live, new).within(write.reach);
    for (version, changes) in changes_in_all(&managers, live, new, write.reach, all).await? {
        managers.lose(Some(&version), None, &changes);
    }
    if !own.changed.is_empty() {
        managers.add(
            Manager::updating(write.manager, write.api_version, write.subresource),
            own.changed,
            write.now,
        );
    }
    Ok(managers.write())
}
