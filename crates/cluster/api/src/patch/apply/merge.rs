//! Merges a configuration into an object, and finds and removes values by path.

use super::Step;
use crate::patch::diff::{interleave, places};
use crate::patch::fields::{FieldSet, item_step};
use crate::schema::{ListKind, Model, Shape};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

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
    let mut places = places(&before);
    for (step, value) in wanted.iter().zip(applied) {
        match places.get(step) {
            Some(at) => result[*at].1 = merge(model, item, &result[*at].1, value),
            None => {
                places.insert(step, result.len());
                result.push((step.clone(), value.clone()));
            }
        }
    }
    let ordered = interleave(result, |(step, _)| step.clone(), &wanted, &before);
    ordered.into_iter().map(|(_, value)| value).collect()
}

fn places_of(model: &Model, item: &Shape, kind: &ListKind, items: &[Value]) -> HashMap<Step, usize> {
    let mut places = HashMap::with_capacity(items.len());
    for (at, value) in items.iter().enumerate() {
        places.entry(item_step(model, item, kind, at, value)).or_insert(at);
    }
    places
}

fn item_shape<'a>(model: &'a Model, shape: &'a Shape) -> &'a Shape {
    match model.resolve(shape) {
        Shape::List { item, .. } => item,
        _ => &Shape::Any,
    }
}

/// Removes the values at all paths of a set, and what is empty then.
pub(super) fn remove_all(model: &Model, shape: &Shape, value: &mut Value, set: &FieldSet) {
    match value {
        Value::Object(map) => {
            let mut gone: HashSet<&str> = HashSet::new();
            for (step, below) in set.below() {
                let Step::Field(name) = step else { continue };
                let Some(child) = map.get_mut(name.as_str()) else { continue };
                if below.is_member() {
                    gone.insert(name);
                    continue;
                }
                let inner = model.member(shape, name).unwrap_or(&Shape::Any);
                remove_all(model, inner, child, below);
                if is_empty(child) {
                    gone.insert(name);
                }
            }
            map.retain(|name, _| !gone.contains(name.as_str()));
        }
        Value::Array(items) => {
            // Before any item is changed: without its key it could not be found any more.
            let places = match model.resolve(shape) {
                Shape::List { item, kind } => places_of(model, item, kind, items),
                _ => HashMap::new(),
            };
            let mut gone: HashSet<usize> = HashSet::new();
            for (step, below) in set.below() {
                let at = match step {
                    Step::Index(at) => Some(*at),
                    Step::Field(_) => None,
                    step => places.get(step).copied(),
                };
                let Some(at) = at.filter(|at| *at < items.len()) else { continue };
                if below.is_member() {
                    gone.insert(at);
                } else {
                    remove_all(model, item_shape(model, shape), &mut items[at], below);
                }
            }
            let mut at = 0..;
            items.retain(|_| !at.next().is_some_and(|at| gone.contains(&at)));
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
