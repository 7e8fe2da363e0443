//! Short ways into JSON objects.

use serde_json::{Map, Value, json};

/// The member at a path of names; `None` where any is missing.
pub(super) fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, name| value.get(name))
}

/// A text at a path, empty where missing.
pub(super) fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or("")
}

/// A number at a path.
pub(super) fn number(object: &Value, path: &[&str]) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

/// The items of a list at a path, none where missing.
pub(super) fn items<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The members of an object at a path, none where missing.
pub(super) fn members<'a>(object: &'a Value, path: &[&str]) -> impl Iterator<Item = (&'a String, &'a Value)> {
    at(object, path).and_then(Value::as_object).into_iter().flatten()
}

/// The object at a path, made where missing; `None` only where something else is in the way.
pub(super) fn object_mut<'a>(object: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut value = object;
    for name in path {
        value = value.as_object_mut()?.entry(*name).or_insert_with(|| json!({}));
    }
    value.as_object_mut()
}

/// Sets a member where it is missing, null or an empty text, which programs send for what they do not say.
pub(super) fn set_default(map: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if map.get(name).is_none_or(|value| value.is_null() || value == "") {
        map.insert(name.to_owned(), value.into());
    }
}

/// Sets a number where it is missing, null or zero, which programs send for what they do not say.
pub(super) fn set_default_number(map: &mut Map<String, Value>, name: &str, value: i64) {
    if map.get(name).is_none_or(|it| it.is_null() || it.as_i64() == Some(0)) {
        map.insert(name.to_owned(), value.into());
    }
}

/// The objects in the list under `name`.
pub(super) fn each_mut<'a>(
    map: &'a mut Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}
