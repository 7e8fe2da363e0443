//! In what two states of an object differ, field by field, as `Compare` of upstream's structured-merge-diff tells it.

use super::{FieldSet, Reach};
use crate::patch::fields::{Below, Step, item_step};
use crate::schema::{Field, ListKind, Model, Shape, model};
use hako_kube::{Beside, is_same};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// What a write does to the fields of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// What is new, with all that is below and what holds it, and what has another value.
    pub changed: FieldSet,
    /// What is there no more; what was below is gone with it.
    pub gone: FieldSet,
}

impl Changes {
    pub(super) fn of(shape: &Shape, old: &Value, new: &Value) -> Self {
        let mut changes = Self::default();
        if !is_same(old, new) {
            Comparison { model: model() }.values(shape, old, new, &mut changes);
        }
        changes
    }

    /// Those alone that can be owned.
    pub(super) fn within(mut self, reach: Reach) -> Self {
        reach.strip(&mut self.changed);
        reach.strip(&mut self.gone);
        self
    }

    fn add(&mut self, noted: Noted) {
        self.changed.add(noted.changed);
        self.gone.add(noted.gone);
    }
}

/// What is different below the steps from a node.
#[derive(Default)]
struct Noted {
    changed: Below,
    gone: Below,
}

impl Noted {
    fn put(&mut self, step: Step, below: Changes) {
        match (below.changed.is_empty(), below.gone.is_empty()) {
            (true, true) => {}
            (false, true) => self.changed.put(step, below.changed),
            (true, false) => self.gone.put(step, below.gone),
            (false, false) => {
                self.changed.put(step.clone(), below.changed);
                self.gone.put(step, below.gone);
            }
        }
    }
}

/// What a value has parts of.
enum Parts<'v> {
    Members(Option<&'v Map<String, Value>>),
    Items(&'v [Value]),
    None,
}

impl<'v> Parts<'v> {
    /// Null is an empty object or list.
    fn of(shape: &Shape, value: &'v Value) -> Self {
        match (shape, value) {
            (Shape::Object(_) | Shape::Open(_) | Shape::Map { .. }, Value::Object(members)) => {
                Self::Members(Some(members))
            }
            (Shape::Object(_) | Shape::Map { .. }, Value::Null) => Self::Members(None),
            (Shape::List { .. }, Value::Array(items)) => Self::Items(items),
            (Shape::List { .. }, Value::Null) => Self::Items(&[]),
            _ => Self::None,
        }
    }
}

struct Comparison {
    model: &'static Model,
}

impl Comparison {
    /// Notes in what two values differ, which are not the same.
    fn values(&self, shape: &Shape, old: &Value, new: &Value, changes: &mut Changes) {
        if self.model.is_atomic(shape) {
            return changes.changed.insert(&[]);
        }
        let resolved = self.model.resolve(shape);
        match (Parts::of(resolved, old), Parts::of(resolved, new)) {
            (Parts::Members(was), Parts::Members(is)) => {
                let is_empty = |members: Option<&Map<_, _>>| members.is_none_or(Map::is_empty);
                if is_empty(was) && is_empty(is) && zeros(resolved).next().is_none() {
                    return changes.changed.insert(&[]);
                }
                changes.add(self.members(resolved, was, is));
            }
            (Parts::Items(was), Parts::Items(is)) => {
                if was.is_empty() && is.is_empty() {
                    return changes.changed.insert(&[]);
                }
                changes.add(self.items(resolved, was, is));
            }
            // What has parts and what has none: nothing of the one is in the other.
            _ => {
                changes.changed.union(self.added(shape, new));
                changes.gone.union(self.added(shape, old));
                changes.gone.remove(&[]);
            }
        }
    }

    fn members(
        &self,
        shape: &Shape,
        was: Option<&Map<String, Value>>,
        is: Option<&Map<String, Value>>,
    ) -> Noted {
        let mut noted = Noted::default();
        let mut beside = Beside::new(was);
        for (name, value) in is.into_iter().flatten() {
            let before = beside.get(name).or_else(|| self.zero(shape, name));
            if before.is_some_and(|before| is_same(before, value)) {
                continue;
            }
            let inner = self.model.member(shape, name).unwrap_or(&Shape::Any);
            self.below(Step::Field(name.as_str().into()), inner, before, Some(value), &mut noted);
        }
        let mut beside = Beside::new(is);
        for (name, before) in was.into_iter().flatten() {
            if beside.get(name).is_some() {
                continue;
            }
            let after = self.zero(shape, name);
            if after.is_some_and(|after| is_same(before, after)) {
                continue;
            }
            let inner = self.model.member(shape, name).unwrap_or(&Shape::Any);
            self.below(Step::Field(name.as_str().into()), inner, Some(before), after, &mut noted);
        }
        noted
    }

    /// What an object of a built-in type has where it does not say anything.
    fn zero<'s>(&'s self, shape: &'s Shape, name: &str) -> Option<&'s Value> {
        self.model.field(shape, name)?.zero.as_ref()
    }

    fn items(&self, shape: &Shape, was: &[Value], is: &[Value]) -> Noted {
        let mut noted = Noted::default();
        let Shape::List { item, kind } = shape else { return noted };
        let (were, are) = (self.steps(item, kind, was), self.steps(item, kind, is));
        let (before, now) = (Groups::of(&were, was), Groups::of(&are, is));
        let mut seen = HashSet::new();
        for (step, value) in are.iter().zip(is) {
            match (before.get(step), now.get(step)) {
                (&[], &[_]) => self.below(step.clone(), item, None, Some(value), &mut noted),
                (&[before], &[_]) if is_same(before, value) => {}
                (&[before], &[_]) => self.below(step.clone(), item, Some(before), Some(value), &mut noted),
                (_, &[_]) => {
                    noted.changed.put(step.clone(), self.added(item, value));
                    noted.gone.put(step.clone(), FieldSet::whole());
                }
                // Items that cannot be told apart are owned together, with nothing in them.
                (were, are) if seen.insert(step) && were != are => {
                    noted.changed.put(step.clone(), FieldSet::whole());
                    if were.len() == 1 {
                        noted.gone.put(step.clone(), FieldSet::whole());
                    }
                }
                _ => {}
            }
        }
        for step in were.iter().filter(|step| now.get(step).is_empty()) {
            noted.gone.put(step.clone(), FieldSet::whole());
        }
        noted
    }

    fn steps(&self, item: &Shape, kind: &ListKind, items: &[Value]) -> Vec<Step> {
        items.iter().enumerate().map(|(at, value)| item_step(self.model, item, kind, at, value)).collect()
    }

    fn below(&self, step: Step, shape: &Shape, old: Option<&Value>, new: Option<&Value>, noted: &mut Noted) {
        match (old, new) {
            (Some(old), Some(new)) => {
                let mut below = Changes::default();
                self.values(shape, old, new, &mut below);
                noted.put(step, below);
            }
            (None, Some(new)) => noted.changed.put(step, self.added(shape, new)),
            (_, None) => noted.gone.put(step, FieldSet::whole()),
        }
    }

    /// All of a value that was not there, and what holds it.
    fn added(&self, shape: &Shape, value: &Value) -> FieldSet {
        let mut set = FieldSet::whole();
        if self.model.is_atomic(shape) {
            return set;
        }
        let resolved = self.model.resolve(shape);
        match Parts::of(resolved, value) {
            Parts::Members(members) => set.add(self.added_members(resolved, members, value.is_null())),
            Parts::Items(items) => {
                let Shape::List { item, kind } = resolved else { return set };
                let steps = self.steps(item, kind, items);
                let groups = Groups::of(&steps, items);
                let mut below = Below::with_capacity(items.len());
                for (step, value) in steps.iter().zip(items) {
                    let is_one = groups.get(step).len() == 1;
                    below.put(step.clone(), if is_one { self.added(item, value) } else { FieldSet::whole() });
                }
                set.add(below);
            }
            Parts::None => {}
        }
        set
    }

    fn added_members(&self, shape: &Shape, members: Option<&Map<String, Value>>, is_null: bool) -> Below {
        let mut below = Below::with_capacity(members.map_or(0, Map::len));
        for (name, value) in members.into_iter().flatten() {
            let inner = self.model.member(shape, name).unwrap_or(&Shape::Any);
            below.put(Step::Field(name.as_str().into()), self.added(inner, value));
        }
        let is_said = |name: &str| members.is_some_and(|members| members.contains_key(name));
        for (field, zero) in zeros(shape).filter(|(field, _)| !is_null && !is_said(&field.name)) {
            below.put(Step::Field(field.name.as_str().into()), self.added(&field.shape, zero));
        }
        below
    }
}

/// The fields that an object of a built-in type has without saying so, and what is in them.
fn zeros(shape: &Shape) -> impl Iterator<Item = (&Field, &Value)> {
    let fields = match shape {
        Shape::Object(fields) => fields.as_slice(),
        _ => &[],
    };
    fields.iter().filter_map(|field| Some((field, field.zero.as_ref()?)))
}

/// The items of a list by what they are told apart by: one each, if all is well.
struct Groups<'v> {
    places: HashMap<&'v Step, usize>,
    items: Vec<Vec<&'v Value>>,
}

impl<'v> Groups<'v> {
    fn of(steps: &'v [Step], items: &'v [Value]) -> Self {
        let mut groups = Self { places: HashMap::with_capacity(steps.len()), items: Vec::new() };
        for (step, value) in steps.iter().zip(items) {
            let at = *groups.places.entry(step).or_insert(groups.items.len());
            match groups.items.get_mut(at) {
                Some(others) => others.push(value),
                None => groups.items.push(vec![value]),
            }
        }
        groups
    }

    fn get(&self, step: &Step) -> &[&'v Value] {
        self.places.get(step).and_then(|at| self.items.get(*at)).map_or(&[], Vec::as_slice)
    }
}
