//! `Binding`: a pod and the node that it is to run on. It is carried out when it is created, and not kept.

use super::check;
use super::row::{KindRow, Question};
use super::value::text;
use hako_kube::field::{self, Faults};
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    kind: "Binding",
    plural: "bindings",
    singular: "binding",
    verbs: &["create"],
    type_name: "io.k8s.api.core.v1.Binding",
    columns: &[],
    cells: |_, _| Vec::new(),
    validate,
    question: Some(Question::Binding),
    ..KindRow::BASE
};

/// Faults of the node that is named, also of a binding that is sent to the pod itself.
pub(super) fn validate(object: &Value) -> Faults {
    let (mut causes, target) = (Faults::new(), &object["target"]);
    if !text(target, &["kind"]).is_empty() {
        check::one_of(target, "kind", &["Node", "<empty>"], "target", &mut causes);
    }
    if text(target, &["name"]).is_empty() {
        causes.push(field::required("target.name", ""));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_bound_to_a_node_with_a_name_and_to_nothing_else() {
        let faults = |target: Value| -> Vec<String> {
            validate(&json!({"target": target})).iter().map(field::line).collect()
        };
        assert!(faults(json!({"kind": "Node", "name": "n"})).is_empty());
        assert!(faults(json!({"name": "n"})).is_empty());
        assert_eq!(
            faults(json!({"kind": "Pod"})),
            [
                "target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\"",
                "target.name: Required value",
            ]
        );
    }
}
