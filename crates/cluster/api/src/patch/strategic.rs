//! Strategic merge patch: a merge patch that knows which lists merge and by which key.
//!
//! Directives: `$patch: replace|delete|merge` in objects, `$retainKeys`, `$deleteFromPrimitiveList/<field>` and
//! `$setElementOrder/<field>` beside a field.

use super::diff::interleave;
use crate::schema::{Model, Patch, Shape};
use hako_error::{Classify, Kind};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// Why a patch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum StrategicPatchError {
    /// An unknown directive.
    #[error("unknown patch type {0} found in the patch, use replace, delete or merge")]
    Directive(String),
    /// The patch is no object.
    #[error("the strategic merge patch is no object")]
    NoObject,
    /// An item of a merged list lacks the member by which items are told apart.
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoKey {
        /// The item.
        item: String,
        /// The member it lacks.
        key: &'static str,
    },
    /// A directive has a value of the wrong type.
    #[error("{0} must be a list")]
    NoList(String),
}

impl Classify for StrategicPatchError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// `target`, an object of the given shape, changed by `patch`.
///
/// # Errors
/// See [`StrategicPatchError`].
pub fn strategic(
    model: &Model,
    shape: &Shape,
    target: &Value,
    patch: &Value,
) -> Result<Value, StrategicPatchError> {
    let Value::Object(changes) = patch else { return Err(StrategicPatchError::NoObject) };
    let empty = Map::new();
    let original = target.as_object().unwrap_or(&empty);
    Merge { model }.object(shape, original, changes).map(Value::Object)
}

struct Merge<'a> {
    model: &'a Model,
}

type Object = Map<String, Value>;

impl Merge<'_> {
    fn object(
        &self,
        shape: &Shape,
        original: &Object,
        patch: &Object,
    ) -> Result<Object, StrategicPatchError> {
        let mut result = match patch.get(DIRECTIVE).map(|it| it.as_str().unwrap_or("")) {
            None | Some("merge") => original.clone(),
            Some("replace") => {
                let mut rest = patch.clone();
                rest.shift_remove(DIRECTIVE);
                return Ok(rest);
            }
            Some("delete") => return Ok(Map::new()),
            Some(other) => return Err(StrategicPatchError::Directive(other.to_owned())),
        };
        if let Some(kept) = patch.get(RETAIN) {
            let kept = list(kept, RETAIN)?;
            let kept: HashSet<&str> = kept.iter().filter_map(Value::as_str).collect();
            result.retain(|name, _| kept.contains(name.as_str()));
        }
        // All at once: each by itself would move all that comes after it.
        if patch.values().any(Value::is_null) {
            result.retain(|name, _| !patch.get(name).is_some_and(Value::is_null));
        }
        for (name, change) in patch {
            if let Some(field) = name.strip_prefix(DELETE_FROM) {
                let gone = list(change, name)?;
                if let Some(Value::Array(items)) = result.get_mut(field) {
                    let gone: HashSet<&Value> = gone.iter().collect();
                    items.retain(|item| !gone.contains(item));
                }
            }
        }
        for (name, change) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
            self.member(shape, name, change, &mut result)?;
        }
        for (name, order) in patch {
            if let Some(field) = name.strip_prefix(ORDER) {
                self.order(shape, field, list(order, name)?, original, &mut result);
            }
        }
        Ok(result)
    }

    fn member(
        &self,
        shape: &Shape,
        name: &str,
        change: &Value,
        result: &mut Object,
    ) -> Result<(), StrategicPatchError> {
        let inner = self.model.member(shape, name).unwrap_or(&Shape::Any);
        let strategy = self.model.field(shape, name).map_or(Patch::default(), |field| field.patch);
        let merged = match (result.get(name), change) {
            (_, Value::Null) => return Ok(()),
            (Some(Value::Object(original)), Value::Object(changes)) => {
                Value::Object(self.object(inner, original, changes)?)
            }
            (None, Value::Object(changes)) => {
                if changes.get(DIRECTIVE) == Some(&Value::from("delete")) {
                    return Ok(());
                }
                Value::Object(self.object(inner, &Map::new(), changes)?)
            }
            (original, Value::Array(changes)) if strategy.merge => {
                let empty = Vec::new();
                let original = original.and_then(Value::as_array).unwrap_or(&empty);
                Value::Array(self.list(inner, strategy.key, original, changes)?)
            }
            (_, Value::Array(changes)) => Value::Array(without_directives(changes)),
            _ => change.clone(),
        };
        result.insert(name.to_owned(), merged);
        Ok(())
    }

    fn list(
        &self,
        shape: &Shape,
        key: Option<&'static str>,
        original: &[Value],
        changes: &[Value],
    ) -> Result<Vec<Value>, StrategicPatchError> {
        let Some(key) = key else {
            let mut known: HashSet<&Value> = original.iter().collect();
            let new = changes.iter().filter(|change| known.insert(*change));
            return Ok(original.iter().chain(new).cloned().collect());
        };
        let directive = |item: &Value| item.get(DIRECTIVE).and_then(Value::as_str).map(str::to_owned);
        let is_replace = |item: &Value| directive(item).as_deref() == Some("replace");
        let is_replaced = changes.iter().any(&is_replace);
        let original = if is_replaced { &[] } else { original };
        let mut result: Vec<Option<Value>> = original.iter().cloned().map(Some).collect();
        let mut places: HashMap<Value, Vec<usize>> = HashMap::new();
        for (at, item) in original.iter().enumerate() {
            if let Some(value) = item.get(key) {
                places.entry(value.clone()).or_default().push(at);
            }
        }
        let item_shape = match self.model.resolve(shape) {
            Shape::List { item, .. } => item,
            _ => &Shape::Any,
        };
        for change in changes {
            let is_bare = change.as_object().is_some_and(|map| map.len() == 1);
            if is_replace(change) && is_bare {
                continue;
            }
            let value = change
                .get(key)
                .ok_or_else(|| StrategicPatchError::NoKey { item: change.to_string(), key })?;
            if directive(change).as_deref() == Some("delete") {
                places.remove(value).into_iter().flatten().for_each(|at| result[at] = None);
                continue;
            }
            let at = places.get(value).and_then(|places| places.first().copied());
            let empty = Map::new();
            let changes = change.as_object().unwrap_or(&empty);
            let before = at.and_then(|at| result[at].as_ref()?.as_object()).unwrap_or(&empty);
            let merged = Value::Object(self.object(item_shape, before, changes)?);
            match at {
                Some(at) => result[at] = Some(merged),
                None => {
                    places.entry(value.clone()).or_default().push(result.len());
                    result.push(Some(merged));
                }
            }
        }
        Ok(result.into_iter().flatten().collect())
    }

    /// Puts a list's items into the order the writer sees; items it does not know stay where they were.
    fn order(&self, shape: &Shape, name: &str, order: &[Value], original: &Object, result: &mut Object) {
        let strategy = self.model.field(shape, name).map_or(Patch::default(), |field| field.patch);
        let id = |item: &Value| match strategy.key {
            Some(key) => item.get(key).cloned().unwrap_or(Value::Null),
            None => item.clone(),
        };
        let Some(Value::Array(items)) = result.get_mut(name) else { return };
        let wanted: Vec<Value> = order.iter().map(id).collect();
        let empty = Vec::new();
        let before = original.get(name).and_then(Value::as_array).unwrap_or(&empty);
        let before: Vec<Value> = before.iter().map(id).collect();
        *items = interleave(std::mem::take(items), id, &wanted, &before);
    }
}

/// A list that takes the place of another one: what says what is to be done with an item is none.
fn without_directives(items: &[Value]) -> Vec<Value> {
    items.iter().filter(|item| item.get(DIRECTIVE).is_none()).cloned().collect()
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], StrategicPatchError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| StrategicPatchError::NoList(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::model;
    use serde_json::json;

    fn patched(target: Value, patch: Value) -> Value {
        let model = model();
        strategic(model, model.shape("io.k8s.api.apps.v1.Deployment"), &target, &patch).unwrap()
    }

    fn pod(containers: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn long_lists_and_maps_merge_at_once() {
        let list = |value: Value| {
            let item = |at: usize| json!({"name": format!("c{at}"), "image": "i", "$patch": value});
            let mut items: Vec<Value> = (0..20_000).map(item).collect();
            if value.is_null() {
                items.iter_mut().for_each(|item| drop(item.as_object_mut().unwrap().remove("$patch")));
            }
            pod(items.into())
        };
        let whole = list(Value::Null);
        assert_eq!(patched(whole.clone(), whole.clone()), whole);
        assert_eq!(patched(whole, list("delete".into())), pod(json!([])));
        let labels = |value: Value| {
            let all: Map<String, Value> = (0..100_000).map(|at| (format!("l{at}"), value.clone())).collect();
            json!({"metadata": {"labels": all}})
        };
        assert_eq!(patched(labels("v".into()), labels(Value::Null)), json!({"metadata": {"labels": {}}}));
    }

    #[test]
    fn lists_merge_by_their_key() {
        assert_eq!(
            patched(
                pod(json!([{"name":"a","image":"x","args":["1"]},{"name":"b","image":"y"}])),
                pod(json!([{"name":"a","image":"z","args":["2"]},{"name":"c","image":"w"}])),
            ),
            pod(json!([
                {"name":"a","image":"z","args":["2"]},
                {"name":"b","image":"y"},
                {"name":"c","image":"w"}
            ]))
        );
    }

    #[test]
    fn directives_delete_and_replace() {
        let target = pod(json!([{"name":"a"},{"name":"b"}]));
        assert_eq!(
            patched(target.clone(), pod(json!([{"name":"a","$patch":"delete"}]))),
            pod(json!([{"name":"b"}]))
        );
        assert_eq!(
            patched(target.clone(), pod(json!([{"$patch":"replace"},{"name":"c"}]))),
            pod(json!([{"name":"c"}]))
        );
        assert_eq!(
            patched(target, json!({"spec":{"template":{"$patch":"replace","metadata":{}}}})),
            json!({"spec":{"template":{"metadata":{}}}})
        );
    }

    #[test]
    fn a_list_that_is_replaced_takes_no_item_that_is_to_go() {
        let tolerations = |list: Value| json!({"spec": {"template": {"spec": {"tolerations": list}}}});
        let patch = tolerations(json!([{"key": "a", "$patch": "delete"}, {"key": "b"}]));
        for before in [json!({}), tolerations(json!([{"key": "a"}]))] {
            assert_eq!(patched(before, patch.clone()), tolerations(json!([{"key": "b"}])));
        }
    }

    #[test]
    fn retained_keys_and_primitive_lists_are_honoured() {
        assert_eq!(
            patched(
                json!({"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}}),
                json!({"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}),
            ),
            json!({"spec":{"strategy":{"type":"Recreate"}}})
        );
        assert_eq!(
            patched(
                json!({"metadata":{"finalizers":["a","b"]}}),
                json!({"metadata":{"$deleteFromPrimitiveList/finalizers":["a"],"finalizers":["c"]}}),
            ),
            json!({"metadata":{"finalizers":["b","c"]}})
        );
    }

    #[test]
    fn the_order_of_the_writer_wins_and_strangers_stay() {
        let target = pod(json!([{"name":"a"},{"name":"x"},{"name":"b"}]));
        let mut patch = pod(json!([{"name":"c"}]));
        patch["spec"]["template"]["spec"]["$setElementOrder/containers"] =
            json!([{"name":"b"},{"name":"c"},{"name":"a"}]);
        let result = patched(target, patch);
        let names: Vec<&str> = result["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        let position = |name: &str| names.iter().position(|it| *it == name).unwrap();
        assert!(position("b") < position("c") && position("c") < position("a"), "{names:?}");
        assert_eq!(names.len(), 4);
    }

    #[test]
    fn malformed_patches_are_refused() {
        let model = model();
        let shape = model.shape("io.k8s.api.apps.v1.Deployment");
        for patch in [json!([]), json!({"$patch":"x"}), pod(json!([{"image":"x"}]))] {
            assert!(strategic(model, shape, &json!({}), &patch).is_err(), "{patch}");
        }
    }
}
