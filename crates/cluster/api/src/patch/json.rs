//! JSON Patch, RFC 6902, bounded in operations and in what `copy` may add.
//!
//! Where Kubernetes' library takes more than the RFC does, so does this: places in lists count from the end below zero,
//! a member that is missing may be replaced, and what comes before a path's first slash is not looked at.

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
    #[error("the server rejected our request due to an error in our request")]
    Failed {
        /// The operation.
        operation: &'static str,
        /// Where it failed.
        path: String,
        /// Why.
        fault: &'static str,
    },
    /// There is another value than the one that a `test` is for.
    #[error("the server rejected our request due to an error in our request")]
    Untrue {
        /// Where.
        path: String,
    },
}

/// What is wrong where a test found something else.
const UNTRUE: &str = "found another value";

impl JsonPatchError {
    /// Why, for who did not send the patch.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::Failed { operation, path, fault } => format!("{operation} operation {fault}: {path:?}"),
            Self::Untrue { path } => format!("test operation {UNTRUE}: {path:?}"),
            error => error.to_string(),
        }
    }
}

impl Classify for JsonPatchError {
    fn kind(&self) -> Kind {
        match self {
            Self::TooMany(_) | Self::TooBig | Self::Moved => Kind::Exhausted,
            Self::Malformed(_) | Self::Failed { .. } | Self::Untrue { .. } => Kind::Invalid,
        }
    }

    fn causes(&self) -> Vec<FieldCause> {
        let (operation, path, fault) = match self {
            Self::Failed { path, fault, operation } => (*operation, path, *fault),
            Self::Untrue { path } => ("test", path, UNTRUE),
            _ => return Vec::new(),
        };
        vec![FieldCause {
            reason: "FieldValueInvalid".to_owned(),
            message: format!("{operation} operation {fault}"),
            field: path.clone(),
        }]
    }
}

/// One operation. What it lacks counts only where it is applied.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Operation {
    op: Option<String>,
    path: Option<String>,
    from: Option<String>,
    value: Value,
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
    let operations = operations(patch)?;
    let mut document = target.clone();
    let mut spent = Spent::default();
    for operation in operations {
        apply(&mut document, operation, &mut spent)?;
    }
    Ok(document)
}

fn operations(patch: &Value) -> Result<Vec<Operation>, JsonPatchError> {
    let unfit = |value: &Value, wanted: &str| {
        let given = match value {
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Null | Value::Object(_) => "object",
        };
        JsonPatchError::Malformed(format!("json: cannot unmarshal {given} into Go value of type {wanted}"))
    };
    let operation = |value: &Value| match value {
        Value::Null => Ok(Operation::default()),
        Value::Object(_) => {
            Operation::deserialize(value).map_err(|error| JsonPatchError::Malformed(error.to_string()))
        }
        other => Err(unfit(other, "handlers.jsonPatchOp")),
    };
    match patch {
        Value::Null => Ok(Vec::new()),
        Value::Array(operations) => operations.iter().map(operation).collect(),
        other => Err(unfit(other, "[]handlers.jsonPatchOp")),
    }
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
    let Operation { op, path, from, value } = operation;
    let kind = match op.as_deref() {
        Some("add") => "add",
        Some("remove") => "remove",
        Some("replace") => "replace",
        Some("move") => "move",
        Some("copy") => "copy",
        Some("test") => "test",
        _ => return Err(failed("unknown", path.as_deref().unwrap_or(""), "is none of those there are")),
    };
    let path = path.ok_or_else(|| failed(kind, "", "has no path"))?;
    let from = || from.ok_or_else(|| failed(kind, &path, "does not say from where"));
    match kind {
        "add" => add(document, kind, &path, value, spent),
        "remove" => remove(document, kind, &path, spent).map(drop),
        "replace" => replace(document, &path, value),
        "test" => test(document, &path, &value),
        "move" => {
            let value = remove(document, kind, &from()?, spent)?;
            add(document, kind, &path, value, spent)
        }
        _ => {
            let value = get(document, kind, &from()?)?.cloned().unwrap_or_default();
            spent.copied += value.to_string().len();
            if spent.copied > COPIED_MAX {
                return Err(JsonPatchError::TooBig);
            }
            add(document, kind, &path, value, spent)
        }
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Result<(), JsonPatchError> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return Err(failed("replace", path, "leaves neither object nor list"));
        }
        *document = value;
        return Ok(());
    }
    match parent(document, path) {
        Some((Value::Object(map), last)) => {
            map.insert(last, value);
            Ok(())
        }
        Some((Value::Array(items), last)) => {
            let at = index(&last, items.len()).and_then(|at| items.get_mut(at));
            *at.ok_or_else(|| missing("replace", path))? = value;
            Ok(())
        }
        _ => Err(missing("replace", path)),
    }
}

fn test(document: &mut Value, path: &str, value: &Value) -> Result<(), JsonPatchError> {
    let is_so = if path.is_empty() {
        document == value
    } else {
        get(document, "test", path)?.unwrap_or(&Value::Null) == value
    };
    if is_so { Ok(()) } else { Err(JsonPatchError::Untrue { path: path.to_owned() }) }
}

/// What is at a path, which may be a member that is missing, but no place in a list that there is not.
fn get<'a>(
    document: &'a mut Value,
    operation: &'static str,
    path: &str,
) -> Result<Option<&'a Value>, JsonPatchError> {
    match parent(document, path) {
        Some((Value::Object(map), last)) => Ok(map.get(&last)),
        Some((Value::Array(items), last)) => {
            let at = index(&last, items.len()).and_then(|at| items.get(at));
            at.map(Some).ok_or_else(|| missing(operation, path))
        }
        _ => Err(missing(operation, path)),
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

/// What holds that which a path leads to, and its last part. What stands before the first slash is nothing.
fn parent<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (above, last) = path.rsplit_once('/')?;
    let mut value = document;
    for token in above.split('/').skip(1) {
        value = match value {
            Value::Object(map) => map.get_mut(&unescape(token))?,
            Value::Array(items) => {
                let at = index(token, items.len())?;
                items.get_mut(at)?
            }
            _ => return None,
        };
    }
    Some((value, unescape(last)))
}

/// A place among so many; below zero counted from the last.
fn index(token: &str, len: usize) -> Option<usize> {
    let at: i64 = token.parse().ok()?;
    let at = if at < 0 { i64::try_from(len).ok()?.checked_add(at)? } else { at };
    usize::try_from(at).ok()
}

fn add(
    document: &mut Value,
    operation: &'static str,
    path: &str,
    value: Value,
    spent: &mut Spent,
) -> Result<(), JsonPatchError> {
    match parent(document, path) {
        Some((Value::Object(map), last)) => {
            map.insert(last, value);
            Ok(())
        }
        Some((Value::Array(items), last)) => {
            let at = if last == "-" { Some(items.len()) } else { index(&last, items.len() + 1) };
            let at = at.filter(|at| *at <= items.len());
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
    let removed = match parent(document, path) {
        // Of a large map the order is not kept: each removal would move all that comes after.
        Some((Value::Object(map), last)) if map.len() > ORDERED_MAX => map.swap_remove(&last),
        Some((Value::Object(map), last)) => map.shift_remove(&last),
        Some((Value::Array(items), last)) => {
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
            json!([{"op":"replace","path":"/x/y","value":1}]),
            json!([{"op":"replace","path":"/l/1","value":1}]),
            json!([{"op":"replace","path":"","value":1}]),
            json!([{"op":"remove","path":""}]),
            json!([{"op":"add","path":"","value":{}}]),
            json!([{"op":"remove","path":"/l/-2"}]),
            json!([{"op":"remove","path":"/l/-"}]),
            json!([{"op":"copy","from":"/l/-","path":"/b"}]),
            json!([{"op":"test","path":"/x/y","value":null}]),
            json!([{"op":"test","path":"/l/1","value":null}]),
            json!([{"op":"add","path":"/l/-3","value":1}]),
            json!([{"op":"add","path":"/l/x","value":1}]),
            json!([{"op":"move","from":"/x","path":"/b"}]),
            json!([{"op":"add","value":1}, null]),
            json!([{"op":"test","path":"/a","value":2}]),
            json!([{"op":"add","path":"/l/9","value":1}]),
            json!([{"op":"move","from":"/a","path":"/a/b"}]),
            json!([{"op":"bogus","path":"/a"}]),
            json!({"a":1}),
            json!([1]),
        ] {
            assert!(json(&json!({"a":1,"l":[1]}), &patch).is_err(), "{patch}");
        }
    }

    #[test]
    fn what_the_rfc_does_not_know_is_done_as_upstream_does_it() {
        for (patch, expected) in [
            (json!([{"op":"add","path":"/l/-1","value":3}]), json!({"a":1,"l":[1,2,3]})),
            (json!([{"op":"add","path":"/l/-3","value":0}]), json!({"a":1,"l":[0,1,2]})),
            (json!([{"op":"remove","path":"/l/-1"}]), json!({"a":1,"l":[1]})),
            (json!([{"op":"replace","path":"/l/-2","value":0}]), json!({"a":1,"l":[0,2]})),
            (json!([{"op":"test","path":"/l/-1","value":2}]), json!({"a":1,"l":[1,2]})),
            (json!([{"op":"add","path":"/l/+1","value":0}]), json!({"a":1,"l":[1,0,2]})),
            (json!([{"op":"add","path":"/l/01","value":0}]), json!({"a":1,"l":[1,0,2]})),
            (json!([{"op":"replace","path":"/b","value":1}]), json!({"a":1,"l":[1,2],"b":1})),
            (json!([{"op":"replace","path":"","value":{"b":1}}]), json!({"b":1})),
            (json!([{"op":"test","path":"","value":{"l":[1,2],"a":1}}]), json!({"a":1,"l":[1,2]})),
            (json!([{"op":"test","path":"/b"}]), json!({"a":1,"l":[1,2]})),
            (json!([{"op":"copy","from":"/b","path":"/c"}]), json!({"a":1,"l":[1,2],"c":null})),
            (json!([{"op":"add","path":"b"}, {"op":"add","path":"x/b","value":1}]), json!(null)),
            (json!([{"op":"add","path":"x/b","value":1}]), json!({"a":1,"l":[1,2],"b":1})),
            (json!(null), json!({"a":1,"l":[1,2]})),
        ] {
            let made = json(&json!({"a":1,"l":[1,2]}), &patch);
            assert_eq!(made.unwrap_or_default(), expected, "{patch}");
        }
    }

    #[test]
    fn who_sent_a_patch_is_told_in_upstreams_words() {
        let failed = json(&json!({"a": 1}), &json!([{"op":"remove","path":"/b"}])).unwrap_err();
        assert_eq!(failed.to_string(), "the server rejected our request due to an error in our request");
        assert_eq!(failed.causes()[0].field, "/b");
        let why = "remove operation does not apply, there is no such path: \"/b\"";
        assert_eq!(failed.why(), why);
        let unfit = json(&json!({}), &json!({"op": "add"})).unwrap_err();
        assert_eq!(
            unfit.to_string(),
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        );
    }
}
