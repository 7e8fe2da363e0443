//! A rule in the first line, the expression of its message in the second one, then the schema of the part it is on, a
//! value of it, and what that was before. Whatever they are, the rule is refused or says the same each time.

use hako_kube::field;
use hako_structural::{Budget, Patterns, Rules, Schema, check_schema};
use serde_json::{Value, json};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines: Vec<&str> = text.split('\n').collect();
    let at = |line: usize| lines.get(line).copied().unwrap_or("");
    let parsed = |line: usize| serde_json::from_str::<Value>(at(line)).ok();
    let Some(mut part) = parsed(2).filter(Value::is_object) else { return };
    part["x-kubernetes-validations"] =
        json!([{"rule": at(0), "messageExpression": at(1), "optionalOldSelf": at(0).contains("optional")}]);
    let resource = json!({"type": "object", "properties": {"spec": part}});
    // One that is refused is compiled too, as a stored one may be of another release.
    let _ = check_schema(&resource, "schema", false, &mut Patterns::default());
    let Ok(schema) = Schema::read(&resource, "schema") else { return };
    let rules = Rules::compile(&schema);
    let (new, old) = (json!({"spec": parsed(3)}), parsed(4).map(|old| json!({"spec": old})));
    let said = || {
        let outcome = rules.evaluate(&new, old.as_ref(), &mut Budget::default());
        let faults: Vec<String> = outcome.faults.iter().map(field::line).collect();
        (faults, outcome.warnings)
    };
    assert_eq!(said(), said());
}
