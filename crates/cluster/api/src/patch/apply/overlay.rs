//! A configuration laid over an object without any record of who owns what: how mutations of policies are applied
//! (`apiserver/pkg/admission/plugin/policy/mutating/patch/smd.go`).

use serde_json::Value;

use super::merge::merge;
use crate::schema::{ListKind, Model, Shape, model};

/// `object` with what `configuration` says, merged by the lists and maps of its type.
///
/// # Errors
/// Where the configuration sets lists, maps or objects that are replaced as a whole: what it does not name of them would
/// be lost.
pub(crate) fn overlay(shape: &Shape, object: &Value, configuration: &Value) -> Result<Value, String> {
    let model = model();
    let (mut atomic, mut unknown) = (Vec::new(), Vec::new());
    find_faults(model, shape, configuration, "", &mut atomic, &mut unknown);
    if !unknown.is_empty() {
        let paths: Vec<_> =
            unknown.iter().map(|path| format!("{path}: field not declared in schema")).collect();
        return Err(format!("failed to convert patch object to typed object: {}", paths.join(", ")));
    }
    if !atomic.is_empty() {
        let paths = atomic.join(", ");
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {paths}"
        ));
    }
    Ok(merge(model, shape, object, configuration))
}

fn find_faults(
    model: &Model,
    shape: &Shape,
    value: &Value,
    path: &str,
    atomic: &mut Vec<String>,
    unknown: &mut Vec<String>,
) {
    let is_whole = model.type_of(shape).is_some_and(|named| named.is_atomic);
    match (model.resolve(shape), value) {
        (Shape::Object(_) | Shape::Open(_), Value::Object(members)) => {
            if is_whole {
                atomic.push(path.to_owned());
            }
            for (name, inner) in members {
                let at = format!("{path}.{name}");
                match model.member(shape, name) {
                    Some(shape) => find_faults(model, shape, inner, &at, atomic, unknown),
                    None => unknown.push(at),
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
                find_faults(model, item, inner, &format!("{path}[{at}]"), atomic, unknown);
            }
        }
        _ => {}
    }
}
