//! `autoscaling/v1` `Scale`: the replicas of any workload in one shape.

use super::value::{at, number, object_mut, text};
use hako_kube::{
    LabelSelector, Selector,
    field::{self, Faults},
};
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Where objects of a kind keep their scale.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// How many are wanted.
    pub wanted: Vec<String>,
    /// How many there are.
    pub there: Vec<String>,
    /// Which those are, as a text or structured.
    pub selector: Option<Vec<String>>,
    /// Whether what is there may be of another type: then there is no scale, and the selector has to be a text.
    pub is_checked: bool,
}

static USUAL: LazyLock<Paths> = LazyLock::new(|| {
    let path = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    Paths {
        wanted: path(["spec", "replicas"]),
        there: path(["status", "replicas"]),
        selector: Some(path(["spec", "selector"])),
        is_checked: false,
    }
});

impl Paths {
    /// Those of workloads.
    pub(crate) fn usual() -> &'static Self {
        &USUAL
    }
}

fn find<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, name| value.get(name))
}

/// The number that a scale has where the object has none; nobody can want it.
const UNSET: i64 = -2_147_483_648;

/// Whether an object says how many are wanted.
pub(crate) fn is_set(paths: &Paths, object: &Value) -> bool {
    find(object, &paths.wanted).is_some_and(|replicas| !replicas.is_null())
}

/// The scale of an object that is to be changed: what is not there can be told from a zero.
pub(crate) fn to_change(paths: &Paths, object: &Value) -> Value {
    let mut scale = of(paths, object);
    if !is_set(paths, object) {
        scale["spec"]["replicas"] = UNSET.into();
    }
    scale
}

/// Whether a changed scale still says nothing.
pub(crate) fn is_unset(scale: &Value) -> bool {
    number(scale, &["spec", "replicas"]) == Some(UNSET)
}

/// What of an object is of another type than in a scale, in upstream's words.
pub(crate) fn fault(paths: &Paths, object: &Value) -> Option<String> {
    if !paths.is_checked {
        return None;
    }
    let is_int = |value: &Value| value.is_i64() || value.is_u64();
    let selector = paths.selector.as_ref().map(|path| (path, "string"));
    let numbers = [(&paths.wanted, "int64"), (&paths.there, "int64")];
    numbers.into_iter().chain(selector).find_map(|(path, wanted)| {
        let mut value = object;
        for (at, name) in path.iter().enumerate() {
            match value {
                Value::Null => return None,
                Value::Object(members) => value = members.get(name)?,
                other => return Some(mistyped(&path[..=at], other, "map[string]interface {}")),
            }
        }
        let is_right = if wanted == "string" { value.is_string() } else { is_int(value) };
        (!is_right).then(|| mistyped(path, value, wanted))
    })
}

fn mistyped(path: &[String], value: &Value, wanted: &str) -> String {
    let is = match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    let wanted = wanted.replace("interface {}", "interface{}");
    format!(".{} accessor error: {} is of the type {is}, expected {wanted}", path.join("."), printed(value))
}

/// A value as Go prints it.
fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().collect();
            let all = members.iter().map(|(name, value)| format!("{name}:{}", printed(value)));
            format!("map[{}]", all.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

/// The scale of an object.
#[must_use]
pub(crate) fn of(paths: &Paths, object: &Value) -> Value {
    let number = |path| find(object, path).and_then(Value::as_i64).unwrap_or(0);
    let meta = |name: &str| at(object, &["metadata", name]).cloned().unwrap_or(Value::Null);
    let selector = paths.selector.as_ref().and_then(|path| find(object, path)).and_then(selector);
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta("name"),
            "namespace": meta("namespace"),
            "uid": meta("uid"),
            "resourceVersion": meta("resourceVersion"),
            "creationTimestamp": meta("creationTimestamp"),
        },
        "spec": { "replicas": number(&paths.wanted) },
        "status": { "replicas": number(&paths.there) },
    });
    if let (Some(selector), Some(status)) = (selector, object_mut(&mut scale, &["status"])) {
        status.insert("selector".to_owned(), selector.into());
    }
    scale
}

/// A selector that is a text, structured, or the plain labels of a replication controller.
fn selector(selector: &Value) -> Option<String> {
    if let Some(text) = selector.as_str() {
        return Some(text.to_owned());
    }
    let labels: Option<BTreeMap<String, String>> = BTreeMap::deserialize(selector).ok();
    match labels {
        Some(labels) if !labels.is_empty() => Some(Selector::from_labels(&labels).to_string()),
        _ => Some(LabelSelector::deserialize(selector).ok()?.selector().ok()?.to_string()),
    }
}

/// Sets an object's replicas to those of a scale.
///
/// # Errors
/// The faulty fields of the scale; the object is unchanged then.
pub(crate) fn apply(paths: &Paths, object: &mut Value, scale: &Value) -> Result<(), Faults> {
    let replicas = number(scale, &["spec", "replicas"]).unwrap_or(0);
    let name = text(scale, &["metadata", "name"]);
    if !name.is_empty() && name != text(object, &["metadata", "name"]) {
        return Err(Faults::from([field::invalid("metadata.name", name, "field is immutable")]));
    }
    if replicas < 0 {
        return Err(Faults::from([field::invalid(
            "spec.replicas",
            replicas,
            "must be greater than or equal to 0",
        )]));
    }
    set(paths, object, replicas.into());
    Ok(())
}

/// Sets how many are wanted.
pub(crate) fn set(paths: &Paths, object: &mut Value, replicas: Value) {
    if let Some((last, parents)) = paths.wanted.split_last() {
        let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
        if let Some(parent) = object_mut(object, &parents) {
            parent.insert(last.clone(), replicas);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_another_type_is_told_as_upstream_tells_it() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect();
        let paths = Paths {
            wanted: path("spec.much"),
            there: path("status.much"),
            selector: Some(path("status.selector")),
            is_checked: true,
        };
        for (object, text) in [
            (
                json!({"spec": {"much": "3"}}),
                ".spec.much accessor error: 3 is of the type string, expected int64",
            ),
            (
                json!({"spec": {"much": 1.5}}),
                ".spec.much accessor error: 1.5 is of the type float64, expected int64",
            ),
            (
                json!({"spec": {"much": null}}),
                ".spec.much accessor error: <nil> is of the type <nil>, expected int64",
            ),
            (
                json!({"spec": "x"}),
                ".spec.much accessor error: x is of the type string, expected map[string]interface{}",
            ),
            (
                json!({"status": {"much": {"b": [1, true], "a": "y"}}}),
                ".status.much accessor error: map[a:y b:[1 true]] is of the type map[string]interface {}, expected int64",
            ),
            (
                json!({"status": {"selector": {"matchLabels": {}}}}),
                ".status.selector accessor error: map[matchLabels:map[]] is of the type map[string]interface {}, \
                 expected string",
            ),
        ] {
            assert_eq!(fault(&paths, &object).as_deref(), Some(text));
            assert_eq!(fault(Paths::usual(), &object), None);
        }
        for sound in
            [json!({}), json!({"spec": null}), json!({"spec": {"much": 3}, "status": {"selector": "a=b"}})]
        {
            assert_eq!(fault(&paths, &sound), None, "{sound}");
        }
    }
}
