//! What webhooks and policies make of an object, made to fit again: its type, its defaults, and what is not theirs.

use hako_kube::GroupVersionKind;
use serde_json::Value;

use super::attributes::{Matched, Versioned};
use super::plugin::Change;
use crate::http::{Failure, Outcome};
use crate::patch::apply;
use crate::schema::{self, Decoded, FieldValidation};

/// What of the metadata nobody who is asked can change.
const FIXED: [&str; 5] =
    ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"];
/// What is besides where it is not an object that is sent: what it is about stands in the path.
const PLACE: [&str; 3] = ["name", "namespace", "uid"];

/// The object as its type has it, with defaults.
///
/// # Errors
/// 400 where a value has the wrong type.
pub(super) fn admitted(change: &Change<'_>, object: Value) -> Outcome<Value> {
    if !is_whole(change) {
        return Ok(object);
    }
    let row = &change.target.row;
    let decoded = Decoded::of(object);
    let mut object = schema::admit(row, decoded, FieldValidation::Ignore)?.object;
    schema::leave_out(row.shape(), &mut object);
    row.default(&mut object);
    Ok(object)
}

/// Whether what a patch made of an object is of its kind still.
///
/// # Errors
/// 500 where it is not: an object does not become another one on its way.
pub(super) fn same_kind(before: &Value, made: &Value) -> Outcome<()> {
    for name in ["apiVersion", "kind"] {
        let (is, was) = (made.get(name), before.get(name));
        if is != was
            && let (Some(is), Some(was)) = (is.and_then(Value::as_str), was.and_then(Value::as_str))
            && !is.is_empty()
        {
            return Err(Failure::internal(&format!("a patch made {name} {is:?} of {was:?}, which stays")));
        }
    }
    Ok(())
}

/// What a JSON patch of a policy made of an object, if a client might send it: as it is not said whose fault it is that the
/// patch has what the type has not, it is a failure of ours.
///
/// # Errors
/// 500 where a value has the wrong type, or there is no such field.
pub(super) fn decoded(change: &Change<'_>, matched: &Matched, mut object: Value) -> Outcome<Value> {
    let row = matched.row(change);
    let unknown = match form(&matched.named.kind) {
        Some(type_name) => schema::fit(type_name, &mut object),
        None if is_whole(change) => row.strategy().fit(&mut object),
        None => return Ok(object),
    };
    let unknown = unknown.map_err(|why| Failure::internal(&why))?;
    if unknown.is_empty() || is_whole(change) && !row.write_rules.refuses_unknown {
        return Ok(object);
    }
    let faults: Vec<_> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    Err(Failure::internal(&format!("strict decoding error: {}", faults.join(", "))))
}

/// The type of what is sent to a part in a form of its own.
fn form(kind: &GroupVersionKind) -> Option<&'static str> {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Binding") => Some("io.k8s.api.core.v1.Binding"),
        ("autoscaling", "Scale") => Some("io.k8s.api.autoscaling.v1.Scale"),
        ("policy", "Eviction") => Some("io.k8s.api.policy.v1.Eviction"),
        ("authentication.k8s.io", "TokenRequest") => Some("io.k8s.api.authentication.v1.TokenRequest"),
        _ => None,
    }
}

/// Whether what is sent is the object, and no form of its own of one of its parts.
fn is_whole(change: &Change<'_>) -> bool {
    let row = &change.target.row;
    row.subresource(change.part).is_none_or(|part| part.kind == row.kind)
}

/// Puts back what is fixed. Another name or namespace of an object is for whoever stores it to judge.
pub(super) fn restore(change: &Change<'_>, before: &Value, object: &mut Value) {
    for name in ["apiVersion", "kind"] {
        if let Some(value) = before.get(name) {
            object[name] = value.clone();
        }
    }
    let Some(before) = before.get("metadata").and_then(Value::as_object) else { return };
    if !object.get("metadata").is_some_and(Value::is_object) {
        object["metadata"] = Value::Object(serde_json::Map::new());
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let place = if is_whole(change) { [].iter() } else { PLACE.iter() };
    for name in FIXED.iter().chain(place) {
        match before.get(*name) {
            Some(value) => metadata.insert((*name).to_owned(), value.clone()),
            None => metadata.shift_remove(*name),
        };
    }
}

/// The object with what a configuration says, merged as server-side apply merges.
///
/// # Errors
/// Where the configuration does not fit the type, or sets what can only be set as a whole.
pub(super) fn overlay(versioned: &Versioned<'_>, configuration: &Value) -> Result<Value, String> {
    let kind = &versioned.named.kind;
    let kinds = versioned.change.server.kinds.now();
    let shape = match form(kind) {
        Some(type_name) => schema::model().shape(type_name),
        None => kinds
            .by_kind(&kind.group, &kind.version, &kind.kind)
            .map(|row| row.shape())
            .ok_or_else(|| format!("no schema of {kind} is known"))?,
    };
    apply::overlay(shape, versioned.object(), configuration)
}
