//! Whether an applied configuration is one of its kind: members that it does not have nobody could own, nor items that
//! cannot be told apart. Whoever applies is told so, however strictly fields are validated.

use super::conflict::ApplyError;
use super::{Path, duplicates, subject};
use crate::patch::fields::{Step, item_step, show};
use crate::schema::{Scalar, Shape, model};
use serde_json::Value;

/// Faults that are told of one configuration.
const MAX_TOLD: usize = 10;
/// Bytes of a value that is shown.
const MAX_SHOWN: usize = 1024;

/// Refuses a configuration as it was sent, before what is unknown is dropped.
///
/// # Errors
/// [`ApplyError::Typed`], with where and what is wrong, in upstream's words.
pub(crate) fn fits(shape: &Shape, applied: &Value) -> Result<(), ApplyError> {
    let mut faults = Vec::new();
    look(shape, applied, &mut Path::new(), &mut faults);
    faults.extend(duplicates::find(shape, applied));
    match faults.is_empty() {
        true => Ok(()),
        false => Err(ApplyError::Typed { object: subject(applied), faults }),
    }
}

fn look(shape: &Shape, value: &Value, path: &mut Path, faults: &mut Vec<String>) {
    if faults.len() >= MAX_TOLD || value.is_null() {
        return;
    }
    let model = model();
    match (model.resolve(shape), value) {
        (Shape::Object(_) | Shape::Open(_) | Shape::Map { .. }, Value::Object(members)) => {
            for (name, value) in members {
                if faults.len() >= MAX_TOLD {
                    return;
                }
                path.push(Step::Field(name.as_str().into()));
                match model.member(shape, name) {
                    Some(inner) => look(inner, value, path, faults),
                    None => faults.push(format!("{}: field not declared in schema", show(path))),
                }
                path.pop();
            }
        }
        (Shape::List { item, kind }, Value::Array(items)) => {
            for (at, value) in items.iter().enumerate() {
                path.push(item_step(model, item, kind, at, value));
                look(item, value, path, faults);
                path.pop();
            }
        }
        (shape, value) => faults.extend(mismatch(shape, value).map(|what| format!("{}: {what}", show(path)))),
    }
}

/// What a single value should be, and what it is.
fn mismatch(shape: &Shape, value: &Value) -> Option<String> {
    let is_scalar = value.is_number() || value.is_string() || value.is_boolean();
    match shape {
        Shape::Object(_) | Shape::Map { .. } => Some(format!("expected map, got &{{{}}}", plain(value))),
        Shape::List { .. } => Some(format!("expected list, got &{{{}}}", plain(value))),
        Shape::Scalar(Scalar::Text | Scalar::Bytes) => (!value.is_string())
            .then(|| format!("expected string, got &value.valueUnstructured{{Value:{}}}", typed(value))),
        Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Number) => {
            (!value.is_number()).then(|| format!("expected numeric (int or float), got {}", type_of(value)))
        }
        Shape::Scalar(Scalar::Bool) => {
            (!value.is_boolean()).then(|| format!("expected boolean, got &{{{}}}", plain(value)))
        }
        Shape::Scalar(Scalar::Time | Scalar::MicroTime | Scalar::IntOrString | Scalar::Quantity) => {
            (!is_scalar).then(|| format!("expected any scalar, got &{{{}}}", plain(value)))
        }
        Shape::Open(_) | Shape::Named(_) | Shape::Any => None,
    }
}

/// The type of a value as Go calls it.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go's `%v` shows it, not all of one that is long.
fn plain(value: &Value) -> String {
    let mut text = String::new();
    shown(value, false, &mut text);
    text
}

/// A value as Go's `%#v` shows it, not all of one that is long.
fn typed(value: &Value) -> String {
    let mut text = String::new();
    shown(value, true, &mut text);
    text
}

fn shown(value: &Value, is_typed: bool, text: &mut String) {
    if text.len() > MAX_SHOWN {
        return;
    }
    let separator = if is_typed { ", " } else { " " };
    match value {
        Value::Null => text.push_str("<nil>"),
        Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
        Value::String(value) => {
            let value = &value[..value.floor_char_boundary(MAX_SHOWN)];
            text.push_str(&if is_typed { format!("{value:?}") } else { value.to_owned() });
        }
        Value::Array(items) => {
            text.push_str(if is_typed { "[]interface {}{" } else { "[" });
            for (at, item) in items.iter().enumerate() {
                if text.len() > MAX_SHOWN {
                    break;
                }
                text.push_str(if at > 0 { separator } else { "" });
                shown(item, is_typed, text);
            }
            text.push(if is_typed { '}' } else { ']' });
        }
        Value::Object(members) => {
            text.push_str(if is_typed { "map[string]interface {}{" } else { "map[" });
            for (at, (name, member)) in members.iter().enumerate() {
                if text.len() > MAX_SHOWN {
                    break;
                }
                text.push_str(if at > 0 { separator } else { "" });
                let name = &name[..name.floor_char_boundary(MAX_SHOWN)];
                text.push_str(&if is_typed { format!("{name:?}:") } else { format!("{name}:") });
                shown(member, is_typed, text);
            }
            text.push(if is_typed { '}' } else { ']' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_that_a_kind_does_not_have_are_named_wherever_they_are() {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n", "labels": {"any": "x"}},
            "spec": {"replicaz": 1, "selector": {"matchLabels": {}, "x": 1},
                     "template": {"spec": {"containers": [{"name": "c", "imagee": "i", "resources": {"limits": {"any/y": "1"}}}]}}},
        });
        let shape = model().shape("io.k8s.api.apps.v1.Deployment");
        let text = fits(shape, &deployment).unwrap_err().to_string();
        assert!(
            text.starts_with("failed to create typed patch object (n/d; apps/v1, Kind=Deployment): "),
            "{text}"
        );
        for path in
            [".spec.replicaz", ".spec.selector.x", ".spec.template.spec.containers[name=\"c\"].imagee"]
        {
            assert!(text.contains(&format!("{path}: field not declared in schema")), "{text}");
        }
        assert_eq!(text.matches("not declared").count(), 3, "{text}");
    }

    #[test]
    fn values_of_another_type_are_told_in_the_words_of_upstream() {
        let shape = model().shape("io.k8s.api.apps.v1.Deployment");
        for (spec, wanted) in [
            (json!({"replicas": "lots"}), ".spec.replicas: expected numeric (int or float), got string"),
            (
                json!({"replicas": {"a": 1}}),
                ".spec.replicas: expected numeric (int or float), got map[string]interface {}",
            ),
            (json!({"paused": "yes"}), ".spec.paused: expected boolean, got &{yes}"),
            (
                json!({"template": [{"a": [1, null]}]}),
                ".spec.template: expected map, got &{[map[a:[1 <nil>]]]}",
            ),
            (
                json!({"template": {"spec": {"containers": {"a": 1}}}}),
                ".spec.template.spec.containers: expected list, got &{map[a:1]}",
            ),
            (
                json!({"template": {"metadata": {"labels": {"a": 80}}}}),
                ".spec.template.metadata.labels.a: expected string, got &value.valueUnstructured{Value:80}",
            ),
            (
                json!({"strategy": {"rollingUpdate": {"maxSurge": [1]}}}),
                ".spec.strategy.rollingUpdate.maxSurge: expected any scalar, got &{[1]}",
            ),
        ] {
            let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec});
            let text = fits(shape, &deployment).unwrap_err().to_string();
            assert_eq!(
                text,
                format!("failed to create typed patch object (/d; apps/v1, Kind=Deployment): {wanted}")
            );
        }
        let nothing = json!({"replicas": null, "template": null, "paused": null, "strategy": {"rollingUpdate": {"maxSurge": "1%"}}});
        assert!(fits(shape, &json!({"metadata": {"name": "d"}, "spec": nothing})).is_ok());
    }

    #[test]
    fn what_is_told_of_a_value_has_an_end() {
        let long: Value = (0..10_000).map(|at| json!({"x".repeat(at % 50): "y".repeat(at % 100)})).collect();
        assert!(plain(&long).len() < 2 * MAX_SHOWN && typed(&long).len() < 2 * MAX_SHOWN);
        assert!(plain(&"y".repeat(1 << 20).into()).len() <= MAX_SHOWN);
    }
}
