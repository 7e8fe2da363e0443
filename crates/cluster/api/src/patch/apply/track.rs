//! Every write that is no application: what it changed belongs to the writer, and to nobody else.

use super::managers::{self, Manager, Managers};
use super::{FieldSet, Path, strip};
use crate::patch::fields::{Step, parts};
use crate::schema::{Model, Shape, model};
use jiff::Timestamp;
use serde_json::{Value, json};

/// One write that is no application.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The object's type, such as `io.k8s.api.apps.v1.Deployment`.
    pub type_name: &'a str,
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

/// What differs between two objects.
#[derive(Default)]
struct Changes {
    set: FieldSet,
    gone: Vec<Path>,
}

/// Sets the `managedFields` of `new`, the object after the write.
///
/// A writer may set `managedFields` itself; what cannot be read, or is missing, is taken from the live object, and a
/// list of one empty entry forgets all, until somebody applies.
pub fn track(write: Write<'_>, new: &mut Value) {
    let (model, empty) = (model(), json!({}));
    let shape = model.shape(write.type_name);
    let live = write.live.unwrap_or(&empty);
    let given = Managers::decode(new);
    let is_reset =
        matches!(managers::entries(new), [one] if one.as_object().is_some_and(serde_json::Map::is_empty));
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

    let mut changes = Changes::default();
    changes.compare(model, shape, Some(live), new, &mut Vec::new());
    strip(&mut changes.set, write.subresource);
    let me = Manager::updating(write.manager, write.api_version, write.subresource);
    for path in &changes.gone {
        managers.take_from_others(None, path, true);
    }
    for path in changes.set.paths() {
        managers.take_from_others(Some(&me), &path, false);
    }
    let mut mine = managers.set_of(&me);
    mine.union(&changes.set);
    let has_changed = !changes.set.is_empty();
    if has_changed || !mine.is_empty() {
        managers.set(me, mine, has_changed, write.now);
    }
    managers.encode(new);
}

impl Changes {
    fn compare(&mut self, model: &Model, shape: &Shape, old: Option<&Value>, new: &Value, path: &mut Path) {
        if old == Some(new) {
            return;
        }
        let Some(is) = parts(model, shape, new).filter(|parts| !parts.is_empty()) else {
            self.set.insert(path);
            return;
        };
        let was = old.and_then(|old| parts(model, shape, old)).unwrap_or_default();
        let is_new_map = old.is_none() && matches!(model.resolve(shape), Shape::Map { .. });
        if is_new_map || (old.is_none() && matches!(path.last(), Some(Step::Key(_)))) {
            self.set.insert(path);
        }
        for (step, inner, value) in &is {
            let before = was.iter().find(|(its, ..)| its == step).map(|(.., value)| *value);
            path.push(step.clone());
            self.compare(model, inner, before, value, path);
            path.pop();
        }
        for (step, ..) in was.iter().filter(|(its, ..)| !is.iter().any(|(step, ..)| step == its)) {
            path.push(step.clone());
            self.gone.push(path.clone());
            path.pop();
        }
    }
}
