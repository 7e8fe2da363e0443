//! Ownership in objects that are written in several versions: the fields of a manager are those of the version in which
//! it writes. What a write does to them is seen by converting the object, as it was and as it is then, to that version.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use hako_error::Error;
use serde_json::Value;

use super::conflict::{self, ApplyError, Conflict};
use super::managers::{self, Manager, Managers};
use super::track::{Changes, Start};
use super::{Apply, Write, merge, owned, update_last_applied, with_holders, without_managed};
use crate::patch::fields::{FieldSet, Step};
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

/// The versions in which managers write an object.
pub(crate) fn versions_of(object: &Value) -> impl Iterator<Item = &str> {
    managers::entries(object).iter().filter_map(|entry| entry["apiVersion"].as_str())
}

/// An object as it was and as it is, in every version that somebody writes it in.
struct Views(BTreeMap<String, (Value, Value)>);

impl Views {
    async fn of(managers: &Managers, old: &Value, new: &Value, all: &impl Versions) -> Result<Self, Error> {
        let mut views = BTreeMap::new();
        for version in managers.versions() {
            let pair = vec![old.clone(), new.clone()];
            if let Ok([old, new]) = <[Value; 2]>::try_from(in_version(all, pair, &version).await?) {
                views.insert(version, (old, new));
            }
        }
        Ok(Self(views))
    }
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
    if !managers::entries(request.applied).is_empty() {
        return Err(ApplyError::ManagedFields.into());
    }
    let (model, shape, applied) = (model(), request.shape, request.applied);
    let mut managers = Managers::decode(live);
    managers.retain(|manager| all.shape(&manager.api_version).is_some());
    let me = Manager::applying(request.manager, request.api_version, request.subresource);
    let merged = merge::merge(model, shape, live, applied);
    let views = Views::of(&managers, live, &merged, all).await?;
    let mut conflicts = conflicts(&managers, &me, &views, all);
    if request.manager == "kubectl" && !request.force {
        conflict::forgive_last_applied(&mut conflicts, &mut managers, live);
    }
    if !conflicts.is_empty() && !request.force {
        return Err(ApplyError::Conflicts(conflicts).into());
    }
    for conflict in &conflicts {
        managers.take(&conflict.manager, &conflict.path);
    }
    let before = (managers.version_of(&me), managers.set_of(&me));
    let set = owned(shape, applied, request.subresource);
    managers.set(me.clone(), set, false, request.now);
    let mut object = match before {
        (Some(version), before) => {
            pruned(merged, &version, before, &managers, request.api_version, all).await?
        }
        (None, _) => merged,
    };
    // An emptied list or map may have been applied as such.
    object = merge::merge(model, shape, &object, applied);
    if request.manager == "kubectl" {
        update_last_applied(live, applied, &mut object);
    }
    if without_managed(&object) != without_managed(live) {
        managers.touch(&me, request.now);
    }
    for version in managers.versions() {
        let Some(shape) = all.shape(&version) else { continue };
        let seen = in_version(all, vec![object.clone()], &version).await?;
        for object in &seen {
            managers.drop_missing_in(&version, shape, object);
        }
    }
    managers.encode(&mut object);
    Ok(object)
}

/// What others own that comes to have another value.
fn conflicts(managers: &Managers, me: &Manager, views: &Views, all: &impl Versions) -> Vec<Conflict> {
    let mut found = Vec::new();
    for (manager, set) in managers.others(me) {
        let (Some((old, new)), Some(shape)) =
            (views.0.get(&manager.api_version), all.shape(&manager.api_version))
        else {
            continue;
        };
        let finder = merge::Finder::default();
        for path in set.paths() {
            let value = |object| finder.find(model(), shape, object, &path);
            let is_item = matches!(path.last(), Some(Step::Key(_)));
            if !is_item && value(old).zip(value(new)).is_some_and(|(old, new)| old != new) {
                found.push(Conflict { manager: manager.clone(), path });
            }
        }
    }
    found
}

/// Without what a manager applied before, in the version of then, unless somebody has it, or it has it again.
async fn pruned(
    object: Value,
    version: &str,
    before: FieldSet,
    managers: &Managers,
    own: &str,
    all: &impl Versions,
) -> Result<Value, Error> {
    let model = model();
    let Some(shape) = all.shape(version) else { return Ok(object) };
    let before = with_holders(shape, before);
    let mut object = in_version(all, vec![object], version).await?.pop().unwrap_or_default();
    let mut rest = object.clone();
    merge::remove_all(model, shape, &mut rest, &before);
    let mut pair = vec![object.clone(), rest];
    // Of that version first: no object can be converted without what is required in it.
    let mut order: Vec<String> = managers.versions().into_iter().collect();
    order.sort_by_key(|other| other != version);
    for version in order {
        let Some(shape) = all.shape(&version) else { continue };
        pair = in_version(all, pair, &version).await?;
        let [whole, rest] = pair.as_mut_slice() else { continue };
        let mut kept = FieldSet::of(model, shape, rest);
        kept.union(managers.set_in(&version));
        *rest = whole.clone();
        let mut gone = FieldSet::default();
        let fields = with_holders(shape, FieldSet::of(model, shape, whole));
        for path in fields.difference(&kept).paths() {
            if !kept.has_below(&path) {
                gone.insert(&path);
            }
        }
        merge::remove_all(model, shape, rest, &gone);
    }
    // What was never owned stays beside what somebody owns.
    let rest = in_version(all, pair, version).await?.pop().unwrap_or_default();
    merge::remove_all(model, shape, &mut object, &missing(shape, &before, &rest));
    Ok(in_version(all, vec![object], own).await?.pop().unwrap_or_default())
}

/// The fields of a set that an object does not have.
fn missing(shape: &Shape, set: &FieldSet, object: &Value) -> FieldSet {
    let (finder, mut gone) = (merge::Finder::default(), FieldSet::default());
    for path in set.paths() {
        if finder.find(model(), shape, object, &path).is_none() {
            gone.insert(&path);
        }
    }
    gone
}

/// As [`super::track`], for an object that others write in other versions.
///
/// # Errors
/// Those of conversion.
pub(crate) async fn track_across(
    write: Write<'_>,
    live: &Value,
    new: &mut Value,
    all: &impl Versions,
) -> Result<(), Error> {
    let mut managers = match Start::of(&write, new) {
        Start::Tracked(managers) => managers,
        Start::Said(managers) => {
            managers.encode(new);
            return Ok(());
        }
    };
    managers.retain(|manager| all.shape(&manager.api_version).is_some());
    let me = Manager::updating(write.manager, write.api_version, write.subresource);
    let changes = Changes::of(write.shape, live, new, write.subresource);
    let views = Views::of(&managers, live, new, all).await?;
    for (version, (old, seen)) in &views.0 {
        let Some(shape) = all.shape(version) else { continue };
        let seen = Changes::of(shape, old, seen, write.subresource);
        let me = (*version == write.api_version).then_some(&me);
        managers.lose(Some(version), me, &seen);
    }
    if !changes.changed.is_empty() {
        managers.add(me, changes.changed, write.now);
    }
    managers.encode(new);
    Ok(())
}
