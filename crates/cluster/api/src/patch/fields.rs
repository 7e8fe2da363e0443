//! Sets of fields, and their JSON form `FieldsV1`.
//!
//! A set is a trie. An edge is a member (`f:`), the item of a list by its key (`k:`), a value of a set (`v:`) or a
//! place in a list (`i:`). A node says whether its own path is in the set.

mod name;
mod read;
#[cfg(test)]
mod tests;

pub use name::Name;

use crate::schema::{ListKind, Model, Shape, encode};
use serde::de::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A member of an object.
    Field(Name),
    /// The item of a list with these members, as the JSON text of an object with sorted names.
    Key(Name),
    /// The value in a set, as JSON text.
    Value(Name),
    /// A place in a list.
    Index(usize),
}

/// A set of paths.
///
/// INVARIANT: the steps are sorted, and no two are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    is_member: bool,
    children: Vec<(Step, FieldSet)>,
}

/// What is below the steps from a node, in whatever order it comes: each by itself would move all that are behind it.
#[derive(Debug, Default)]
pub(super) struct Below(Vec<(Step, FieldSet)>);

impl Below {
    /// For so many steps.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    /// Adds all paths of a set below a step.
    pub(super) fn put(&mut self, step: Step, below: FieldSet) {
        if !below.is_empty() {
            self.0.push((step, below));
        }
    }

    /// In order, what is below one step together.
    fn sorted(self) -> Vec<(Step, FieldSet)> {
        let mut all = self.0;
        if all.is_sorted_by(|(one, _), (next, _)| one < next) {
            return all;
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all.dedup_by(|(step, below), (kept, all)| {
            let is_one = step == kept;
            if is_one {
                all.union(std::mem::take(below));
            }
            is_one
        });
        all
    }
}

/// A path from the object's root.
pub type Path = Vec<Step>;

impl Step {
    fn encode(&self) -> String {
        match self {
            Self::Field(name) => ["f:", name.as_str()].concat(),
            Self::Key(json) => ["k:", json.as_str()].concat(),
            Self::Value(json) => ["v:", json.as_str()].concat(),
            Self::Index(at) => format!("i:{at}"),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Field(name) => encode::text_after(out, "f:", name),
            Self::Key(json) => encode::text_after(out, "k:", json),
            Self::Value(json) => encode::text_after(out, "v:", json),
            Self::Index(_) => encode::text(out, &self.encode()),
        }
    }
}

/// A path as messages show it: `.spec.containers[name="c"].image`.
#[must_use]
pub fn show(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        // Writing to a string cannot fail.
        let _ = match step {
            Step::Field(name) => write!(text, ".{name}"),
            Step::Value(json) => write!(text, "[={json}]"),
            Step::Index(at) => write!(text, "[{at}]"),
            Step::Key(json) => {
                let map: BTreeMap<String, Value> = serde_json::from_str(json).unwrap_or_default();
                let pairs: Vec<String> = map.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(text, "[{}]", pairs.join(","))
            }
        };
    }
    text
}

impl FieldSet {
    /// Reads `fieldsV1`; what is malformed is left out.
    #[must_use]
    pub fn decode(fields: &Value) -> Self {
        Self::deserialize(fields).unwrap_or_default()
    }

    /// Writes `fieldsV1`.
    #[must_use]
    pub fn encode(&self) -> Value {
        let mut map = Map::with_capacity(self.children.len() + usize::from(self.is_member));
        if self.is_member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (step, child) in &self.children {
            map.insert(step.encode(), child.encode());
        }
        Value::Object(map)
    }

    /// The same as text.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut open = b'{';
        if self.is_member && !self.children.is_empty() {
            out.extend_from_slice(b"{\".\":{}");
            open = b',';
        }
        for (step, child) in &self.children {
            out.push(std::mem::replace(&mut open, b','));
            step.write(out);
            out.push(b':');
            child.write(out);
        }
        if open == b'{' {
            out.push(open);
        }
        out.push(b'}');
    }

    /// The set of the root alone.
    #[must_use]
    pub fn whole() -> Self {
        Self { is_member: true, ..Self::default() }
    }

    /// Whether it has no path.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.is_member && self.children.is_empty()
    }

    /// Whether the path itself is in the set.
    #[must_use]
    pub fn has(&self, path: &[Step]) -> bool {
        self.at(path).is_some_and(|node| node.is_member)
    }

    /// Whether the path or anything below is in the set.
    #[must_use]
    pub fn has_below(&self, path: &[Step]) -> bool {
        self.at(path).is_some_and(|node| !node.is_empty())
    }

    fn at(&self, path: &[Step]) -> Option<&Self> {
        path.iter().try_fold(self, |node, step| node.find(step).ok().map(|at| &node.children[at].1))
    }

    /// The place of a step, or where it would be.
    fn find(&self, step: &Step) -> Result<usize, usize> {
        self.children.binary_search_by(|(known, _)| known.cmp(step))
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Step]) {
        let [step, rest @ ..] = path else {
            self.is_member = true;
            return;
        };
        let at = self.find(step).unwrap_or_else(|at| {
            self.children.insert(at, (step.clone(), Self::default()));
            at
        });
        self.children[at].1.insert(rest);
    }

    /// Removes a path itself, not what is below.
    pub fn remove(&mut self, path: &[Step]) {
        match path {
            [] => self.is_member = false,
            [step, rest @ ..] => self.within(step, |child| child.remove(rest)),
        }
    }

    /// Removes a path and what is below.
    pub fn remove_below(&mut self, path: &[Step]) {
        match path {
            [] => *self = Self::default(),
            [step, rest @ ..] => self.within(step, |child| child.remove_below(rest)),
        }
    }

    /// Removes all that is below a step that is not to be kept.
    pub fn retain(&mut self, is_kept: impl Fn(&Step) -> bool) {
        self.children.retain(|(step, _)| is_kept(step));
    }

    /// Changes what is below a step.
    pub fn within(&mut self, step: &Step, change: impl FnOnce(&mut Self)) {
        let Ok(at) = self.find(step) else { return };
        change(&mut self.children[at].1);
        if self.children[at].1.is_empty() {
            self.children.remove(at);
        }
    }

    /// Whether the root itself is in the set.
    pub(super) const fn is_member(&self) -> bool {
        self.is_member
    }

    /// What is below each step from the root.
    pub(super) fn below(&self) -> impl Iterator<Item = (&Step, &Self)> {
        self.children.iter().map(|(step, below)| (step, below))
    }

    /// All paths, parents first.
    #[must_use]
    pub fn paths(&self) -> Vec<Path> {
        let mut all = Vec::new();
        self.collect(&mut Vec::new(), &mut all);
        all
    }

    fn collect(&self, path: &mut Path, all: &mut Vec<Path>) {
        if self.is_member {
            all.push(path.clone());
        }
        for (step, child) in &self.children {
            path.push(step.clone());
            child.collect(path, all);
            path.pop();
        }
    }

    /// Adds all paths of another set.
    pub fn union(&mut self, other: Self) {
        self.is_member |= other.is_member;
        self.unite(other.children);
    }

    /// Adds what is below steps.
    pub(super) fn add(&mut self, below: Below) {
        self.unite(below.sorted());
    }

    fn unite(&mut self, others: Vec<(Step, Self)>) {
        if others.is_empty() {
            return;
        }
        if self.children.is_empty() {
            self.children = others;
            return;
        }
        let mut new = Vec::new();
        let mut from = 0;
        for (step, below) in others {
            // Both are in order.
            match self.children[from..].binary_search_by(|(known, _)| known.cmp(&step)) {
                Ok(at) => {
                    from += at;
                    self.children[from].1.union(below);
                }
                Err(at) => {
                    from += at;
                    new.push((step, below));
                }
            }
        }
        if new.is_empty() {
            return;
        }
        let is_behind = matches!((self.children.last(), new.first()), (Some((last, _)), Some((first, _))) if last < first);
        self.children.extend(new);
        if !is_behind {
            self.children.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
    }

    /// The paths that are not in another set.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.subtract(other);
        rest
    }

    /// The paths that are in another set too.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(step, child)| {
            let both = child.intersection(&other.children[other.find(step).ok()?].1);
            (!both.is_empty()).then(|| (step.clone(), both))
        });
        Self { is_member: self.is_member && other.is_member, children: children.collect() }
    }

    /// Takes out the paths of another set.
    pub fn subtract(&mut self, other: &Self) {
        self.is_member &= !other.is_member;
        self.subtract_children(other, Self::subtract);
    }

    /// Takes out the paths of another set, with all that is below them.
    pub fn subtract_below(&mut self, other: &Self) {
        if other.is_member {
            *self = Self::default();
        } else {
            self.subtract_children(other, Self::subtract_below);
        }
    }

    fn subtract_children(&mut self, other: &Self, subtract: fn(&mut Self, &Self)) {
        let mut is_any_empty = false;
        for (step, of_other) in &other.children {
            let Ok(at) = self.find(step) else { continue };
            let child = &mut self.children[at].1;
            subtract(child, of_other);
            is_any_empty |= child.is_empty();
        }
        if is_any_empty {
            self.children.retain(|(_, child)| !child.is_empty());
        }
    }

    /// With every declared field that has anything of the set below it: members of objects, not keys of maps and not items.
    #[must_use]
    pub fn with_named_fields(mut self, model: &Model, shape: &Shape) -> Self {
        self.add_named_fields(model, shape);
        self
    }

    fn add_named_fields(&mut self, model: &Model, shape: &Shape) {
        for (step, child) in &mut self.children {
            let inner = match (step, model.resolve(shape)) {
                (Step::Field(name), _) => {
                    child.is_member |= model.field(shape, name).is_some();
                    model.member(shape, name)
                }
                (_, Shape::List { item, .. }) => Some(&**item),
                _ => None,
            };
            if let Some(inner) = inner {
                child.add_named_fields(model, inner);
            }
        }
    }

    /// Brings the set in accord with a type that has changed since: what is owned as a whole by now, nobody owns in parts,
    /// and who had a part has all of it. What was owned as a whole and is not any more stays so, as if its owner had
    /// always said that and nothing of its parts.
    pub fn reconcile(&mut self, model: &Model, shape: &Shape) {
        if self.children.is_empty() || matches!(model.resolve(shape), Shape::Scalar(_)) {
            return;
        }
        if model.is_atomic(shape) {
            *self = Self::whole();
            return;
        }
        for (step, child) in &mut self.children {
            let inner = match (step, model.resolve(shape)) {
                (Step::Field(name), _) => model.member(shape, name),
                (_, Shape::List { item, .. }) => Some(&**item),
                _ => None,
            };
            if let Some(inner) = inner {
                child.reconcile(model, inner);
            }
        }
    }

    /// All paths of an object of the given shape. Of lists the items, of maps the entries and of objects what is in them:
    /// these themselves are owned where they are empty, or where no type declares them.
    #[must_use]
    pub fn of(model: &Model, shape: &Shape, object: &Value) -> Self {
        let Some(parts) = parts(model, shape, object) else { return Self::whole() };
        let mut below = Vec::with_capacity(parts.len());
        for (step, inner, value) in parts {
            let is_declared = match &step {
                Step::Field(name) => model.field(shape, name).is_some() && !is_hollow(value),
                _ => false,
            };
            let mut child = Self::of(model, inner, value);
            child.is_member |= !is_declared;
            below.push((step, child));
        }
        below.sort_by(|(one, _), (other, _)| one.cmp(other));
        // Items that cannot be told apart are owned together, with nothing in them.
        below.dedup_by(|(step, _), (kept, all)| {
            let is_twice = step == kept;
            if is_twice {
                *all = Self::whole();
            }
            is_twice
        });
        below.retain(|(_, child)| !child.is_empty());
        Self { is_member: false, children: below }
    }
}

/// Whether a value is null or an empty object.
fn is_hollow(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

/// The owned parts of a value; `None` where it is owned as a whole.
pub(super) fn parts<'a>(
    model: &'a Model,
    shape: &'a Shape,
    value: &'a Value,
) -> Option<Vec<(Step, &'a Shape, &'a Value)>> {
    if model.is_atomic(shape) {
        return None;
    }
    match (model.resolve(shape), value) {
        (Shape::Object(_) | Shape::Open(_) | Shape::Map { .. }, Value::Object(map)) => Some(
            map.iter()
                .map(|(name, value)| {
                    let inner = model.member(shape, name).unwrap_or(&Shape::Any);
                    (Step::Field(name.as_str().into()), inner, value)
                })
                .collect(),
        ),
        (Shape::List { item, kind }, Value::Array(items)) => Some(
            items
                .iter()
                .enumerate()
                .map(|(at, value)| (item_step(model, item, kind, at, value), &**item, value))
                .collect(),
        ),
        _ => None,
    }
}

/// Bytes of the longest key of an item: every path of what is below has it. No name is as long as that.
const KEY_MAX: usize = 4096;

/// By what an item of a shared list is told apart.
pub(super) fn item_step(model: &Model, item: &Shape, kind: &ListKind, at: usize, value: &Value) -> Step {
    match kind {
        ListKind::Atomic => Step::Index(at),
        ListKind::Set => Step::Value(value.to_string().into()),
        ListKind::Map(keys) => {
            let mut map: BTreeMap<&str, Value> = BTreeMap::new();
            for key in keys {
                let default = || model.field(item, key).and_then(|field| field.default.clone());
                if let Some(part) = value.get(key).cloned().or_else(default) {
                    map.insert(key.as_str(), part);
                }
            }
            match serde_json::to_string(&map) {
                Ok(json) if !map.is_empty() && json.len() <= KEY_MAX => Step::Key(json.into()),
                _ => Step::Index(at),
            }
        }
    }
}
