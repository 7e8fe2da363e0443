//! JSON Patch, RFC 6902, bounded in operations and in what `copy` may add.

use hako_error::{Classify, FieldCause, Kind};
use serde::Deserialize;
use serde_json::Value;

const OPERATIONS_MAX: usize = 10_000;
const COPIED_MAX: usize = 3 << 20;
/// Items that all operations together move: what is put into a list or taken out of it moves all that come after.
const MOVED_MAX: usize = 16 << 20;
/// Members of maps whose order is kept when one is removed.
const ORDERED_MAX: usize = 1_000;

/// Why a patch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum JsonPatchError {
    /// The patch is no list of operations.
    #[error("error decoding patch: {0}")]
    Malformed(String),
    /// The patch is too big.
    #[error("the allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {0}")]
    TooMany(usize),
    /// An operation copies too much.
    #[error("the JSON patch copies more than {COPIED_MAX} bytes")]
    TooBig,
    /// The operations move too much.
    #[error(
        "the JSON patch moves more than {MOVED_MAX} items of lists; change their ends first, or replace the lists"
    )]
    Moved,
    /// An operation does not fit the object.
    #[error(
        "the server rejected our request due to an error in our request: {operation} operation {fault}: {path:?}"
    )]
    Failed {
        /// The operation.
        operation: &'static str,
        /// Where it failed.
        path: String,
        /// Why.
        fault: &'static str,
    },
}

impl Classify for JsonPatchError {
    fn kind(&self) -> Kind {
        match self {
            Self::TooMany(_) | Self::TooBig | Self::Moved => Kind::Exhausted,
            Self::Malformed(_) | Self::Failed { .. } => Kind::Invalid,
        }
    }

    fn causes(&self) -> Vec<FieldCause> {
        match self {
            Self::Failed { path, fault, .. } => vec![FieldCause {
                reason: "FieldValueInvalid".to_owned(),
                message: (*fault).to_owned(),
                field: path.clone(),
            }],
            _ => Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Value },
}

/// `target` changed by the operations of `patch`, in order, all or none.
///
/// # Errors
/// See [`JsonPatchError`].
pub fn json(target: &Value, patch: &Value) -> Result<Value, JsonPatchError> {
    let count = patch.as_array().map_or(0, Vec::len);
    if count > OPERATIONS_MAX {
        return Err(JsonPatchError::TooMany(count));
    }
    let operations =
        Vec::<Operation>::deserialize(patch).map_err(|error| JsonPatchError::Malformed(error.to_string()))?;
    let mut document = target.clone();
    let mut spent = Spent::default();
    for operation in operations {
        apply(&mut document, operation, &mut spent)?;
    }
    Ok(document)
}

/// What the operations so far have cost.
#[derive(Debug, Default)]
struct Spent {
    copied: usize,
    moved: usize,
}

impl Spent {
    fn moves(&mut self, items: usize) -> Result<(), JsonPatchError> {
        self.moved = self.moved.saturating_add(items);
        if self.moved > MOVED_MAX { Err(JsonPatchError::Moved) } else { Ok(()) }
    }
}

fn apply(document: &mut Value, operation: Operation, spent: &mut Spent) -> Result<(), JsonPatchError> {
    match operation {
        Operation::Add { path, value } => add(document, "add", &path, value, spent),
        Operation::Remove { path } => remove(document, "remove", &path, spent).map(drop),
        Operation::Replace { path, value } => {
            let target = find(document, &path).ok_or_else(|| missing("replace", &path))?;
            *target = value;
            Ok(())
        }
        Operation::Move { from, path } => {
            if path.starts_with(&format!("{from}/")) {
                return Err(failed("move", &path, "moves a value into itself"));
            }
            let value = remove(document, "move", &from, spent)?;
            add(document, "move", &path, value, spent)
        }
        Operation::Copy { from, path } => {
            let value = find(document, &from).ok_or_else(|| missing("copy", &from))?.clone();
            spent.copied += value.to_string().len();
            if spent.copied > COPIED_MAX {
                return Err(JsonPatchError::TooBig);
            }
            add(document, "copy", &path, value, spent)
        }
        Operation::Test { path, value } => {
            let null = Value::Null;
            let actual = find(document, &path).map_or(&null, |it| &*it);
            if *actual == value { Ok(()) } else { Err(failed("test", &path, "found another value")) }
        }
    }
}

fn failed(operation: &'static str, path: &str, fault: &'static str) -> JsonPatchError {
    JsonPatchError::Failed { operation, path: path.to_owned(), fault }
}

fn missing(operation: &'static str, path: &str) -> JsonPatchError {
    failed(operation, path, "does not apply, there is no such path")
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

fn find<'a>(document: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    if path.is_empty() {
        return Some(document);
    }
    let mut value = document;
    for token in path.strip_prefix('/')?.split('/') {
        value = match value {
            Value::Object(map) => map.get_mut(&unescape(token))?,
            Value::Array(items) => {
                let at = index(token, items.len())?;
                items.get_mut(at)?
            }
            _ => return None,
        };
    }
    Some(value)
}

/// An index without sign or leading zeros, up to and including the length.
fn index(token: &str, len: usize) -> Option<usize> {
    let is_canonical =
        token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    let at: usize = token.parse().ok().filter(|_| is_canonical)?;
    (at <= len).then_some(at)
}

fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, unescape(last)))
}

fn add(
    document: &mut Value,
    operation: &'static str,
    path: &str,
    value: Value,
    spent: &mut Spent,
) -> Result<(), JsonPatchError> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let (parent, last) = split(path).ok_or_else(|| missing(operation, path))?;
    match find(document, parent) {
        Some(Value::Object(map)) => {
            map.insert(last, value);
            Ok(())
        }
        Some(Value::Array(items)) => {
            let at = if last == "-" { Some(items.len()) } else { index(&last, items.len()) };
            let at = at.ok_or_else(|| failed(operation, path, "has an index out of bounds"))?;
            spent.moves(items.len() - at)?;
            items.insert(at, value);
            Ok(())
        }
        _ => Err(missing(operation, path)),
    }
}

fn remove(
    document: &mut Value,
    operation: &'static str,
    path: &str,
    spent: &mut Spent,
) -> Result<Value, JsonPatchError> {
    let (parent, last) = split(path).ok_or_else(|| missing(operation, path))?;
    let removed = match find(document, parent) {
        // Of a large map the order is not kept: each removal would move all that comes after.
        Some(Value::Object(map)) if map.len() > ORDERED_MAX => map.swap_remove(&last),
        Some(Value::Object(map)) => map.shift_remove(&last),
        Some(Value::Array(items)) => {
            let at = index(&last, items.len()).filter(|at| *at < items.len());
            match at {
                Some(at) => {
                    spent.moves(items.len() - at)?;
                    Some(items.remove(at))
                }
                None => None,
            }
        }
        _ => None,
    };
    removed.ok_or_else(|| missing(operation, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_the_rfc_hold() {
        for (target, patch, expected) in [
            (
                json!({"foo":"bar"}),
                json!([{"op":"add","path":"/baz","value":"qux"}]),
                json!({"foo":"bar","baz":"qux"}),
            ),
            (
                json!({"foo":["bar","baz"]}),
                json!([{"op":"add","path":"/foo/1","value":"q"}]),
                json!({"foo":["bar","q","baz"]}),
            ),
            (json!({"baz":"q","foo":"b"}), json!([{"op":"remove","path":"/baz"}]), json!({"foo":"b"})),
            (
                json!({"foo":["a","b","c"]}),
                json!([{"op":"remove","path":"/foo/1"}]),
                json!({"foo":["a","c"]}),
            ),
            (json!({"a":1}), json!([{"op":"replace","path":"/a","value":2}]), json!({"a":2})),
            (
                json!({"foo":{"bar":"baz","w":"f"},"qux":{}}),
                json!([{"op":"move","from":"/foo/w","path":"/qux/thud"}]),
                json!({"foo":{"bar":"baz"},"qux":{"thud":"f"}}),
            ),
            (
                json!({"foo":["a","b"]}),
                json!([{"op":"move","from":"/foo/0","path":"/foo/1"}]),
                json!({"foo":["b","a"]}),
            ),
            (json!({"/":9,"~1":10}), json!([{"op":"test","path":"/~01","value":10}]), json!({"/":9,"~1":10})),
            (
                json!({"foo":["bar"]}),
                json!([{"op":"add","path":"/foo/-","value":["x"]}]),
                json!({"foo":["bar",["x"]]}),
            ),
            (
                json!({"a":{"b":1}}),
                json!([{"op":"copy","from":"/a","path":"/c"}]),
                json!({"a":{"b":1},"c":{"b":1}}),
            ),
        ] {
            assert_eq!(json(&target, &patch).unwrap(), expected, "{patch}");
        }
    }

    #[test]
    fn a_patch_that_moves_long_lists_again_and_again_is_refused() {
        let list = json!({"l": vec![0; 300_000]});
        for operation in
            [json!({"op": "add", "path": "/l/0", "value": 1}), json!({"op": "remove", "path": "/l/0"})]
        {
            let refused = json(&list, &Value::from(vec![operation; 9_999])).unwrap_err();
            assert!(matches!(refused, JsonPatchError::Moved), "{refused}");
        }
        let ends: Value = (0..9_999).map(|_| json!({"op": "add", "path": "/l/-", "value": 1})).collect();
        assert_eq!(json(&list, &ends).unwrap()["l"].as_array().unwrap().len(), 309_999);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for patch in [
            json!([{"op":"add","path":"/x/y","value":1}]),
            json!([{"op":"remove","path":"/x"}]),
            json!([{"op":"replace","path":"/x","value":1}]),
            json!([{"op":"test","path":"/a","value":2}]),
            json!([{"op":"add","path":"/l/9","value":1}]),
            json!([{"op":"add","path":"/l/01","value":1}]),
            json!([{"op":"move","from":"/a","path":"/a/b"}]),
            json!([{"op":"bogus","path":"/a"}]),
            json!({"a":1}),
        ] {
            assert!(json(&json!({"a":1,"l":[1]}), &patch).is_err(), "{patch}");
        }
    }
}
