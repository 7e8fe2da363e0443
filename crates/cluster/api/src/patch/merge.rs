//! JSON Merge Patch, RFC 7386.

use serde_json::{Map, Value};

/// `target` changed by `patch`: null removes, objects merge, all else replaces.
#[must_use]
pub fn merge(target: &Value, patch: &Value) -> Value {
    let mut result = target.clone();
    change(&mut result, patch);
    result
}

fn change(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    // All at once: each by itself would move all that comes after it.
    if changes.values().any(Value::is_null) {
        members.retain(|name, _| !changes.get(name).is_some_and(Value::is_null));
    }
    for (name, wanted) in changes.iter().filter(|(_, wanted)| !wanted.is_null()) {
        change(members.entry(name.as_str()).or_insert(Value::Null), wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn many_members_are_taken_away_at_once() {
        let all: Map<String, Value> = (0..200_000).map(|at| (at.to_string(), json!(1))).collect();
        let gone: Map<String, Value> = (0..199_999).map(|at| (at.to_string(), Value::Null)).collect();
        assert_eq!(merge(&Value::Object(all), &Value::Object(gone)), json!({"199999": 1}));
    }

    /// RFC 7386, appendix A.
    #[test]
    fn the_vectors_of_the_rfc_hold() {
        for (target, patch, expected) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            assert_eq!(merge(&target, &patch), expected, "{target} + {patch}");
        }
    }
}
