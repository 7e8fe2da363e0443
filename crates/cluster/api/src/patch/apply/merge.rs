//! Merges a configuration into an object, and finds and removes values by path.

use super::Step;
use crate::patch::diff::interleave;
use crate::patch::fields::item_step;
use crate::schema::{ListKind, Model, Shape};
use serde_json::Value;

/// `live` with everything that `applied` says.
pub(super) fn merge(model: &Model, shape: &Shape, live: &Value, applied: &Value) -> Value {
    if model.is_atomic(shape) {
        return applied.clone();
    }
    match (model.resolve(shape), live, applied) {
        (
            Shape::Object(_) | Shape::Open(_) | Shape::Map { .. },
            Value::Object(live),
            Value::Object(applied),
        ) => {
            let mut result = live.clone();
            for (name, wanted) in applied {
                let inner = model.member(shape, name).unwrap_or(&Shape::Any);
                let merged = match live.get(name) {
                    Some(is) => merge(model, inner, is, wanted),
                    None => wanted.clone(),
                };
                result.insert(name.clone(), merged);
            }
            Value::Object(result)
        }
        (Shape::List { item, kind }, Value::Array(live), Value::Array(applied)) => {
            Value::Array(list(model, item, kind, live, applied))
        }
        _ => applied.clone(),
    }
}

fn list(model: &Model, item: &Shape, kind: &ListKind, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let steps = |items: &[Value]| -> Vec<Step> {
        items.iter().enumerate().map(|(at, value)| item_step(model, item, kind, at, value)).collect()
    };
    let (before, wanted) = (steps(live), steps(applied));
    let mut result: Vec<(Step, Value)> = before.iter().cloned().zip(live.iter().cloned()).collect();
    for (step, value) in wanted.iter().zip(applied) {
        match result.iter_mut().find(|(its, _)| its == step) {
            Some((_, is)) => *is = merge(model, item, is, value),
            None => result.push((step.clone(), value.clone())),
        }
    }
    let ordered = interleave(result, |(step, _)| step.clone(), &wanted, &before);
    ordered.into_iter().map(|(_, value)| value).collect()
}

/// The value at a path.
pub(super) fn find<'a>(model: &Model, shape: &Shape, value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    let [step, rest @ ..] = path else { return Some(value) };
    match step {
        Step::Field(name) => {
            let inner = model.member(shape, name).unwrap_or(&Shape::Any);
            find(model, inner, value.get(name)?, rest)
        }
        step => {
            let items = value.as_array()?;
            let at = place(model, shape, items, step)?;
            find(model, item_shape(model, shape), items.get(at)?, rest)
        }
    }
}

fn item_shape<'a>(model: &'a Model, shape: &'a Shape) -> &'a Shape {
    match model.resolve(shape) {
        Shape::List { item, .. } => item,
        _ => &Shape::Any,
    }
}

fn place(model: &Model, shape: &Shape, items: &[Value], step: &Step) -> Option<usize> {
    match (step, model.resolve(shape)) {
        (Step::Index(at), _) => Some(*at),
        (_, Shape::List { item, kind }) => {
            let is_it = |(at, value): (usize, &Value)| item_step(model, item, kind, at, value) == *step;
            items.iter().enumerate().position(is_it)
        }
        // Without a shape, as in the annotation of client-side apply, the members of the key decide.
        (Step::Key(json), _) => {
            let key: serde_json::Map<String, Value> = serde_json::from_str(json).ok()?;
            items
                .iter()
                .position(|item| key.iter().all(|(name, value)| item.get(name).is_none_or(|it| it == value)))
        }
        (Step::Value(json), _) => {
            let value: Value = serde_json::from_str(json).ok()?;
            items.iter().position(|item| *item == value)
        }
        (Step::Field(_), _) => None,
    }
}

/// Removes the value at a path, if it is there; what holds it stays, unless it is an emptied map or list.
pub(super) fn remove(model: &Model, shape: &Shape, value: &mut Value, path: &[Step]) {
    let [step, rest @ ..] = path else { return };
    match step {
        Step::Field(name) => {
            let inner = model.member(shape, name).cloned().unwrap_or(Shape::Any);
            let Some(map) = value.as_object_mut() else { return };
            if rest.is_empty() {
                map.shift_remove(name);
            } else if let Some(child) = map.get_mut(name) {
                remove(model, &inner, child, rest);
                let is_container = matches!(model.resolve(&inner), Shape::List { .. } | Shape::Map { .. });
                if is_container && is_empty(child) {
                    map.shift_remove(name);
                }
            }
        }
        step => {
            let Some(at) = value.as_array().and_then(|items| place(model, shape, items, step)) else {
                return;
            };
            let Some(items) = value.as_array_mut().filter(|items| at < items.len()) else { return };
            if rest.is_empty() {
                items.remove(at);
            } else {
                remove(model, item_shape(model, shape), &mut items[at], rest);
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
