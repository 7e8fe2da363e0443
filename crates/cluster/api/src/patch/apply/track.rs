//! Every write that is no application: what it changed belongs to the writer, and to nobody else.

use super::managers::{self, Manager, Managers};
use super::{FieldSet, Path, strip};
use crate::patch::fields::{Step, parts};
use crate::schema::{Model, Shape, model};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// One write that is no application.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// What the object looks like.
    pub shape: &'a Shape,
    /// What was there.
    pub live: Option<&'a Value>,
    /// Who writes.
    pub manager: &'a str,
    /// The version of the API in use, such as `apps/v1`.
    pub api_version: &'a str,
    /// Empty, or the subresource, such as `status`.
    pub subresource: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// Sets the `managedFields` of `new`, the object after the write.
///
/// A writer may set `managedFields` itself; what cannot be read, or is missing, is taken from the live object, and a
/// list of one empty entry forgets all, until somebody applies.
pub fn track(write: Write<'_>, new: &mut Value) {
    let (model, shape, empty) = (model(), write.shape, json!({}));
    let live = write.live.unwrap_or(&empty);
    let given = Managers::decode(new);
    let is_reset = matches!(managers::entries(new), [one] if one.as_object().is_some_and(Map::is_empty));
    if is_reset {
        Managers::default().encode(new);
        return;
    }
    let is_given = given != Managers::default() && write.subresource.is_empty();
    let mut managers = if is_given { given } else { Managers::decode(live) };
    // What nobody has tracked so far is first tracked when somebody applies: then all of it is of the time before.
    if write.live.is_some() && managers == Managers::default() {
        managers.encode(new);
        return;
    }

    let mut gone = Vec::new();
    let mut changed = if *live == *new {
        FieldSet::default()
    } else {
        Comparison { model, gone: &mut gone, path: Vec::new() }.of(shape, Some(live), new)
    };
    strip(&mut changed, write.subresource);
    let me = Manager::updating(write.manager, write.api_version, write.subresource);
    for path in &gone {
        managers.take_from_others(None, path, true);
    }
    if managers.has_others(&me) {
        for path in changed.paths() {
            managers.take_from_others(Some(&me), &path, false);
        }
    }
    if !changed.is_empty() {
        managers.add(me, changed, write.now);
    }
    managers.encode(new);
}

/// Of two objects what differs.
struct Comparison<'a> {
    model: &'static Model,
    /// What the new one has no more.
    gone: &'a mut Vec<Path>,
    /// Where it is.
    path: Path,
}

impl Comparison<'_> {
    /// What of a new value is not as it was; asked only where the two differ.
    fn of(&mut self, shape: &Shape, old: Option<&Value>, new: &Value) -> FieldSet {
        let is_split = !self.model.is_atomic(shape);
        match (self.model.resolve(shape), new) {
            (Shape::Object(_) | Shape::Map { .. }, Value::Object(new)) if is_split && !new.is_empty() => {
                self.members(shape, old, new)
            }
            _ => match parts(self.model, shape, new).filter(|parts| !parts.is_empty()) {
                Some(is) => self.items(shape, old, &is),
                None => FieldSet::whole(),
            },
        }
    }

    fn members(&mut self, shape: &Shape, old: Option<&Value>, new: &Map<String, Value>) -> FieldSet {
        let is_map = matches!(self.model.resolve(shape), Shape::Map { .. });
        let mut set = self.begin(old, is_map);
        let was = old.and_then(Value::as_object);
        for (name, value) in new {
            let before = was.and_then(|was| was.get(name));
            if before != Some(value) {
                let inner = self.model.member(shape, name).unwrap_or(&Shape::Any);
                self.below(&mut set, Step::Field(name.clone()), inner, before, value);
            }
        }
        for name in was.into_iter().flat_map(Map::keys).filter(|name| !new.contains_key(*name)) {
            self.is_gone(Step::Field(name.clone()));
        }
        set
    }

    fn items(&mut self, shape: &Shape, old: Option<&Value>, is: &[(Step, &Shape, &Value)]) -> FieldSet {
        let mut set = self.begin(old, false);
        let was = old.and_then(|old| parts(self.model, shape, old)).unwrap_or_default();
        for (step, inner, value) in is {
            let before = was.iter().find(|(its, ..)| its == step).map(|(.., value)| *value);
            if before != Some(*value) {
                self.below(&mut set, step.clone(), inner, before, value);
            }
        }
        for (step, ..) in was.iter().filter(|(its, ..)| !is.iter().any(|(step, ..)| step == its)) {
            self.is_gone(step.clone());
        }
        set
    }

    /// New maps, and new items of lists that have keys, are themselves something that is owned.
    fn begin(&self, old: Option<&Value>, is_map: bool) -> FieldSet {
        let is_item = matches!(self.path.last(), Some(Step::Key(_)));
        if old.is_none() && (is_map || is_item) { FieldSet::whole() } else { FieldSet::default() }
    }

    fn below(&mut self, set: &mut FieldSet, step: Step, shape: &Shape, old: Option<&Value>, new: &Value) {
        self.path.push(step);
        let child = self.of(shape, old, new);
        if let Some(step) = self.path.pop() {
            set.put(step, child);
        }
    }

    fn is_gone(&mut self, step: Step) {
        let mut path = self.path.clone();
        path.push(step);
        self.gone.push(path);
    }
}
