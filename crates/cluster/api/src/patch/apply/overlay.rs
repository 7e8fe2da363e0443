//! A configuration laid over an object without any record of who owns what: how mutations of policies are applied
//! (`apiserver/pkg/admission/plugin/policy/mutating/patch/smd.go`).

use serde_json::Value;

use super::conflict::ApplyError;
use super::merge::merge;
use super::typed::fits;
use crate::schema::{ListKind, Model, Shape, model};

/// `object` with what `configuration` says, merged by the lists and maps of its type.
///
/// # Errors
/// Where the configuration sets lists, maps or objects that are replaced as a whole: what it does not name of them would
/// be lost.
pub(crate) fn overlay(shape: &Shape, object: &Value, configuration: &Value) -> Result<Value, String> {
    let model = model();
    if let Err(ApplyError::Typed { faults, .. }) = fits(shape, configuration) {
        let faults = match faults.as_slice() {
            [one] => one.clone(),
            all => format!("errors:\n  {}", all.join("\n  ")),
        };
        return Err(format!("failed to convert patch object to typed object: {faults}"));
    }
    let mut atomic = Vec::new();
    find_atomic(model, shape, configuration, "", &mut atomic);
    if !atomic.is_empty() {
        let paths = atomic.join(", ");
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {paths}"
        ));
    }
    Ok(merge(model, shape, object, configuration))
}

fn find_atomic(model: &Model, shape: &Shape, value: &Value, path: &str, atomic: &mut Vec<String>) {
    let is_whole = model.type_of(shape).is_some_and(|named| named.is_atomic);
    match (model.resolve(shape), value) {
        (Shape::Object(_) | Shape::Open(_), Value::Object(members)) => {
            if is_whole {
                atomic.push(path.to_owned());
            }
            for (name, inner) in members {
                let at = format!("{path}.{name}");
                if let Some(shape) = model.member(shape, name) {
                    find_atomic(model, shape, inner, &at, atomic);
                }
            }
        }
        (Shape::Map { is_atomic, .. }, Value::Object(_)) if is_whole || *is_atomic => {
            atomic.push(path.to_owned());
        }
        (Shape::List { item, kind }, Value::Array(items)) => {
            if is_whole || *kind == ListKind::Atomic {
                atomic.push(path.to_owned());
            }
            for (at, inner) in items.iter().enumerate() {
                find_atomic(model, item, inner, &format!("{path}[{at}]"), atomic);
            }
        }
        _ => {}
    }
}
