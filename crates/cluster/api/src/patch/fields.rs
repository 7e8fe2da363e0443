//! Sets of fields, and their JSON form `FieldsV1`.
//!
//! A set is a trie. An edge is a member (`f:`), the item of a list by its key (`k:`), a value of a set (`v:`) or a
//! place in a list (`i:`). A node says whether its own path is in the set.

use crate::schema::{ListKind, Model, Shape};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A member of an object.
    Field(String),
    /// The item of a list with these members, as the JSON text of an object with sorted names.
    Key(String),
    /// The value in a set, as JSON text.
    Value(String),
    /// A place in a list.
    Index(usize),
}

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    is_member: bool,
    children: BTreeMap<Step, FieldSet>,
}

/// A path from the object's root.
pub type Path = Vec<Step>;

impl Step {
    fn decode(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        Some(match kind {
            "f" => Self::Field(rest.to_owned()),
            "k" => {
                let map: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Self::Key(serde_json::to_string(&map).ok()?)
            }
            "v" => Self::Value(serde_json::from_str::<Value>(rest).ok()?.to_string()),
            "i" => Self::Index(rest.parse().ok()?),
            _ => return None,
        })
    }

    fn encode(&self) -> String {
        match self {
            Self::Field(name) => ["f:", name].concat(),
            Self::Key(json) => ["k:", json].concat(),
            Self::Value(json) => ["v:", json].concat(),
            Self::Index(at) => format!("i:{at}"),
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
        let mut set = Self::default();
        let Some(map) = fields.as_object() else { return set };
        for (name, inner) in map {
            if name == "." {
                set.is_member = true;
            } else if let Some(step) = Step::decode(name) {
                let mut child = Self::decode(inner);
                if inner.as_object().is_none_or(Map::is_empty) {
                    child.is_member = true;
                }
                set.children.insert(step, child);
            }
        }
        set
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
        path.iter().try_fold(self, |node, step| node.children.get(step))
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Step]) {
        let mut node = self;
        for step in path {
            node = node.children.entry(step.clone()).or_default();
        }
        node.is_member = true;
    }

    /// Removes a path itself, not what is below.
    pub fn remove(&mut self, path: &[Step]) {
        match path {
            [] => self.is_member = false,
            [step, rest @ ..] => {
                if let Some(child) = self.children.get_mut(step) {
                    child.remove(rest);
                    if child.is_empty() {
                        self.children.remove(step);
                    }
                }
            }
        }
    }

    /// Removes a path and what is below.
    pub fn remove_below(&mut self, path: &[Step]) {
        match path {
            [] => *self = Self::default(),
            [step, rest @ ..] => {
                if let Some(child) = self.children.get_mut(step) {
                    child.remove_below(rest);
                    if child.is_empty() {
                        self.children.remove(step);
                    }
                }
            }
        }
    }

    /// Removes all that is below a step that is not to be kept.
    pub fn retain(&mut self, is_kept: impl Fn(&Step) -> bool) {
        self.children.retain(|step, _| is_kept(step));
    }

    /// Changes what is below a step.
    pub fn within(&mut self, step: &Step, change: impl FnOnce(&mut Self)) {
        let Some(child) = self.children.get_mut(step) else { return };
        change(child);
        if child.is_empty() {
            self.children.remove(step);
        }
    }

    /// Whether the root itself is in the set.
    pub(super) const fn is_member(&self) -> bool {
        self.is_member
    }

    /// What is below each step from the root.
    pub(super) fn below(&self) -> impl Iterator<Item = (&Step, &Self)> {
        self.children.iter()
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
        for (step, child) in other.children {
            self.put(step, child);
        }
    }

    /// Adds all paths of another set below a step.
    pub fn put(&mut self, step: Step, below: Self) {
        if !below.is_empty() {
            self.children.entry(step).or_default().union(below);
        }
    }

    /// The paths that are not in another set.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(step, child)| {
            let rest = match other.children.get(step) {
                Some(known) => child.difference(known),
                None => child.clone(),
            };
            (!rest.is_empty()).then(|| (step.clone(), rest))
        });
        Self { is_member: self.is_member && !other.is_member, children: children.collect() }
    }

    /// The paths that are in another set too.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(step, child)| {
            let both = child.intersection(other.children.get(step)?);
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
        for (step, of_other) in &other.children {
            let Some(child) = self.children.get_mut(step) else { continue };
            subtract(child, of_other);
            if child.is_empty() {
                self.children.remove(step);
            }
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

    /// All paths of an object of the given shape.
    #[must_use]
    pub fn of(model: &Model, shape: &Shape, object: &Value) -> Self {
        let mut set = Self::default();
        set.add_all(model, shape, object);
        set
    }

    /// Of lists the items, of maps the entries and of objects what is in them: these themselves are owned where they are
    /// empty, or where no type declares them.
    fn add_all(&mut self, model: &Model, shape: &Shape, value: &Value) {
        let Some(parts) = parts(model, shape, value) else {
            self.is_member = true;
            return;
        };
        let mut twice: Vec<Step> = Vec::new();
        for (step, inner, value) in parts {
            let is_declared = match &step {
                Step::Field(name) => model.field(shape, name).is_some() && !is_hollow(value),
                _ => false,
            };
            if matches!(step, Step::Key(_) | Step::Value(_)) && self.children.contains_key(&step) {
                twice.push(step);
                continue;
            }
            let child = self.children.entry(step).or_default();
            child.add_all(model, inner, value);
            child.is_member |= !is_declared;
        }
        self.children.retain(|_, child| !child.is_empty());
        // Items that cannot be told apart are owned together, with nothing in them.
        twice.into_iter().for_each(|step| drop(self.children.insert(step, Self::whole())));
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
                    (Step::Field(name.clone()), inner, value)
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
        ListKind::Set => Step::Value(value.to_string()),
        ListKind::Map(keys) => {
            let mut map: BTreeMap<&str, Value> = BTreeMap::new();
            for key in keys {
                let default = || model.field(item, key).and_then(|field| field.default.clone());
                if let Some(part) = value.get(key).cloned().or_else(default) {
                    map.insert(key.as_str(), part);
                }
            }
            match serde_json::to_string(&map) {
                Ok(json) if !map.is_empty() && json.len() <= KEY_MAX => Step::Key(json),
                _ => Step::Index(at),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::model;
    use serde_json::json;

    #[test]
    fn sets_of_objects_encode_as_fields_v1() {
        let model = model();
        let object = json!({"metadata":{"labels":{"a":"b"}},"spec":{"replicas":1,"selector":{"matchLabels":{}},
            "template":{"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}]}]}}}});
        let set = FieldSet::of(model, model.shape("io.k8s.api.apps.v1.Deployment"), &object);
        let encoded = set.encode();
        assert_eq!(
            encoded,
            json!({"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":
                {"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},"f:ports":
                {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}})
        );
        assert_eq!(FieldSet::decode(&encoded), set);
    }

    #[test]
    fn paths_read_as_the_api_shows_them() {
        let mut set = FieldSet::default();
        set.insert(&[
            Step::Field("spec".into()),
            Step::Field("containers".into()),
            Step::Key(r#"{"name":"c"}"#.into()),
        ]);
        assert_eq!(show(&set.paths()[0]), r#".spec.containers[name="c"]"#);
    }

    #[test]
    fn sets_subtract_and_unite() {
        let path = |name: &str| vec![Step::Field("a".into()), Step::Field(name.into())];
        let (mut one, mut other) = (FieldSet::default(), FieldSet::default());
        one.insert(&path("x"));
        one.insert(&path("y"));
        other.insert(&path("y"));
        assert_eq!(one.difference(&other).paths(), [path("x")]);
        other.union(one.clone());
        assert!(other.has(&path("x")) && other.has_below(&path("x")[..1]));
        other.remove_below(&path("x")[..1]);
        assert!(other.is_empty());
    }
}
