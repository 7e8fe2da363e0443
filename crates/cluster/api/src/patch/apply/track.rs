//! Every write that is no application: what it changed belongs to the writer, and to nobody else.

use super::managers::{self, Manager, Managers};
use super::{FieldSet, Path, strip};
use crate::patch::diff::places;
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
    let mut managers = match Start::of(&write, new) {
        Start::Tracked(managers) => managers,
        Start::Said(managers) => return managers.encode(new),
    };
    let empty = json!({});
    let changes = Changes::of(write.shape, write.live.unwrap_or(&empty), new, write.subresource);
    let me = Manager::updating(write.manager, write.api_version, write.subresource);
    managers.lose(None, Some(&me), &changes);
    if !changes.changed.is_empty() {
        managers.add(me, changes.changed, write.now);
    }
    managers.encode(new);
}

/// With whom a write begins.
pub(super) enum Start {
    /// What it changes is noted in these.
    Tracked(Managers),
    /// These it is to be, whatever it changes.
    Said(Managers),
}

impl Start {
    pub(super) fn of(write: &Write<'_>, new: &Value) -> Self {
        let given = Managers::decode(new);
        let is_reset = matches!(managers::entries(new), [one] if one.as_object().is_some_and(Map::is_empty));
        if is_reset {
            return Self::Said(Managers::default());
        }
        let is_given = given != Managers::default() && write.subresource.is_empty();
        let managers = match write.live {
            Some(live) if !is_given => Managers::decode(live),
            None if !is_given => Managers::default(),
            _ => given,
        };
        // What nobody has tracked so far is first tracked when somebody applies: then all of it is of the time before.
        if write.live.is_some() && managers == Managers::default() {
            return Self::Said(managers);
        }
        Self::Tracked(managers)
    }
}

/// What a write does to the fields of an object.
pub(super) struct Changes {
    pub changed: FieldSet,
    pub gone: Vec<Path>,
}

impl Changes {
    pub(super) fn of(shape: &Shape, old: &Value, new: &Value, subresource: &str) -> Self {
        let (mut gone, mut changed) = (Vec::new(), FieldSet::default());
        if *old != *new {
            let mut comparison = Comparison { model: model(), gone: &mut gone, path: Vec::new() };
            changed = comparison.of(shape, Some(old), new);
        }
        strip(&mut changed, subresource);
        Self { changed, gone }
    }
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
        let steps = |all: &[(Step, &Shape, &Value)]| -> Vec<Step> {
            all.iter().map(|(step, ..)| step.clone()).collect()
        };
        let (were, are) = (steps(&was), steps(is));
        let (places, now) = (places(&were), places(&are));
        for (step, inner, value) in is {
            let before = places.get(step).map(|at| was[*at].2);
            if before != Some(*value) {
                self.below(&mut set, step.clone(), inner, before, value);
            }
        }
        for (step, ..) in was.iter().filter(|(its, ..)| !now.contains_key(its)) {
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
