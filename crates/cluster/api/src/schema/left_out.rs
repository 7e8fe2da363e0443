//! What the original leaves out of what it keeps: members that say no more than if they were missing.

use super::model::{Model, Shape, model};
use serde_json::{Map, Value};

/// Takes out of an object what is empty and would be left out by a Go program: `hostNetwork: false`, `labels: {}`, `env: []`.
/// What a pointer leads to in Go stays, and so does what is in maps and lists.
pub(crate) fn leave_out(shape: &Shape, object: &mut Value) {
    walk(model(), shape, object);
}

fn walk(model: &Model, shape: &Shape, value: &mut Value) {
    match (model.resolve(shape), value) {
        (Shape::Object(fields) | Shape::Open(fields), Value::Object(map)) => {
            map.retain(|name, value| {
                let found = fields.binary_search_by(|field| field.name.as_str().cmp(name));
                let Ok(at) = found else { return true };
                let field = &fields[at];
                walk(model, &field.shape, value);
                !(field.leaves_zero && is_zero(value))
            });
        }
        (Shape::Map { value: inner, .. }, Value::Object(map)) => {
            map.values_mut().for_each(|value| walk(model, inner, value));
        }
        (Shape::List { item, .. }, Value::Array(items)) => {
            items.iter_mut().for_each(|value| walk(model, item, value));
        }
        _ => {}
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => Map::is_empty(map),
    }
}

#[cfg(test)]
mod tests {
    use super::leave_out;
    use crate::kinds::Kinds;
    use serde_json::{Value, json};

    fn left(group: &str, kind: &str, object: Value) -> Value {
        let mut object = object;
        leave_out(Kinds::built_in().by_kind(group, "v1", kind).unwrap().shape(), &mut object);
        object
    }

    #[test]
    fn what_is_empty_is_left_out_where_go_leaves_it_out() {
        let pod = json!({
            "metadata": {"name": "p", "labels": {}, "annotations": {"a": ""}, "finalizers": [], "generation": 0},
            "spec": {
                "hostNetwork": false, "hostname": "", "nodeSelector": {}, "tolerations": [], "affinity": {},
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "securityContext": {"runAsUser": 0},
                "containers": [{
                    "name": "", "image": "", "args": [""], "env": [{"name": "A", "value": ""}], "command": [], "stdin": false,
                    "resources": {"limits": {}}, "ports": [{"containerPort": 0, "hostPort": 0}],
                }],
                "volumes": [{"name": "v", "emptyDir": {"medium": ""}}],
            },
        });
        let wanted = json!({
            "metadata": {"name": "p", "annotations": {"a": ""}},
            "spec": {
                "affinity": {},
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "securityContext": {"runAsUser": 0},
                "containers": [{
                    "name": "", "args": [""], "env": [{"name": "A"}],
                    "resources": {}, "ports": [{"containerPort": 0}],
                }],
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
        });
        assert_eq!(left("", "Pod", pod), wanted);
        let map = json!({"metadata": {}, "data": {}, "immutable": false});
        assert_eq!(left("", "ConfigMap", map), json!({"metadata": {}, "immutable": false}));
        let role = json!({"metadata": {}, "rules": [{"verbs": [], "apiGroups": [""], "resourceNames": []}]});
        assert_eq!(
            left("rbac.authorization.k8s.io", "Role", role),
            json!({"metadata": {}, "rules": [{"verbs": [], "apiGroups": [""]}]})
        );
        let class = json!({"metadata": {}, "value": 0, "globalDefault": false, "description": ""});
        assert_eq!(left("scheduling.k8s.io", "PriorityClass", class), json!({"metadata": {}, "value": 0}));
    }
}
