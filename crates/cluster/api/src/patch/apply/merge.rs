//! Merges a configuration into an object, and finds and removes values by path.

use super::Step;
use crate::patch::diff::{interleave, places};
use crate::patch::fields::{FieldSet, item_step};
use crate::schema::{ListKind, Model, Shape};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;

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

/// Finds values at many paths: where the items of a list are is found out once for each list.
#[derive(Default)]
pub(super) struct Finder<'v> {
    /// By the address of the first item, which stays while the values are borrowed.
    places: RefCell<HashMap<*const Value, HashMap<Step, usize>>>,
    values: PhantomData<&'v Value>,
}

impl<'v> Finder<'v> {
    /// The value at a path.
    pub(super) fn find(
        &self,
        model: &Model,
        shape: &Shape,
        value: &'v Value,
        path: &[Step],
    ) -> Option<&'v Value> {
        let [step, rest @ ..] = path else { return Some(value) };
        if let Step::Field(name) = step {
            let inner = model.member(shape, name).unwrap_or(&Shape::Any);
            return self.find(model, inner, value.get(name)?, rest);
        }
        let items = value.as_array()?;
        let at = match (step, model.resolve(shape)) {
            (Step::Key(_) | Step::Value(_), Shape::List { item, kind }) => {
                let mut all = self.places.borrow_mut();
                let places = all.entry(items.as_ptr()).or_insert_with(|| places_of(model, item, kind, items));
                *places.get(step)?
            }
            _ => place(model, shape, items, step)?,
        };
        self.find(model, item_shape(model, shape), items.get(at)?, rest)
    }
}

fn places_of(model: &Model, item: &Shape, kind: &ListKind, items: &[Value]) -> HashMap<Step, usize> {
    let mut places = HashMap::with_capacity(items.len());
    for (at, value) in items.iter().enumerate() {
        places.entry(item_step(model, item, kind, at, value)).or_insert(at);
    }
    places
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

/// Removes the values at all paths of a set; what holds them stays, unless it is an emptied map or list.
pub(super) fn remove_all(model: &Model, shape: &Shape, value: &mut Value, set: &FieldSet) {
    match value {
        Value::Object(map) => {
            let mut gone: HashSet<&str> = HashSet::new();
            for (step, below) in set.below() {
                let Step::Field(name) = step else { continue };
                let Some(child) = map.get_mut(name) else { continue };
                if below.is_member() {
                    gone.insert(name);
                    continue;
                }
                let inner = model.member(shape, name).unwrap_or(&Shape::Any);
                remove_all(model, inner, child, below);
                let is_container = matches!(model.resolve(inner), Shape::List { .. } | Shape::Map { .. });
                if is_container && is_empty(child) {
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
