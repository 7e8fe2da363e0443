//! Members of an applied configuration that its kind does not have: nobody could own them. Whoever applies is told so,
//! however strictly fields are validated.

use super::conflict::ApplyError;
use super::{Path, subject};
use crate::patch::fields::{Step, item_step, show};
use crate::schema::{Shape, model};
use serde_json::Value;

/// Faults that are told of one configuration.
const MAX_TOLD: usize = 10;

/// Refuses a configuration as it was sent, before what is unknown is dropped.
///
/// # Errors
/// [`ApplyError::Typed`], with where the members are, in upstream's words.
pub(crate) fn all_declared(shape: &Shape, applied: &Value) -> Result<(), ApplyError> {
    let mut faults = Vec::new();
    look(shape, applied, &mut Path::new(), &mut faults);
    match faults.is_empty() {
        true => Ok(()),
        false => Err(ApplyError::Typed { object: subject(applied), faults }),
    }
}

fn look(shape: &Shape, value: &Value, path: &mut Path, faults: &mut Vec<String>) {
    let model = model();
    match (model.resolve(shape), value) {
        (Shape::Object(_) | Shape::Open(_) | Shape::Map { .. }, Value::Object(members)) => {
            for (name, value) in members {
                if faults.len() >= MAX_TOLD {
                    return;
                }
                path.push(Step::Field(name.clone()));
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
        _ => {}
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
        let text = all_declared(shape, &deployment).unwrap_err().to_string();
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
}
