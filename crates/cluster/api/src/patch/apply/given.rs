//! `metadata.managedFields` as a client or a webhook says them: whether they can be read, and whether they can be kept.

use super::managers::{self, NAME};
use crate::patch::fields::FieldSet;
use hako_kube::field::{self, Faults};
use serde_json::Value;

const MANAGER_MAX: usize = 128;
const SUBRESOURCE_MAX: usize = 256;
const OPERATIONS: [&str; 2] = ["Apply", "Update"];

/// Why a list of entries cannot be read, if it cannot.
pub(crate) fn fault(list: &Value) -> Option<String> {
    managers::items(list).iter().enumerate().find_map(|(at, entry)| entry_fault(at, entry))
}

fn entry_fault(at: usize, entry: &Value) -> Option<String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("");
    if !OPERATIONS.contains(&text("operation")) {
        return Some("operation must be `Apply` or `Update`".to_owned());
    }
    if text("apiVersion").is_empty() {
        return Some("apiVersion must not be empty".to_owned());
    }
    match text("fieldsType") {
        "FieldsV1" => {}
        "" => return Some(format!("missing fieldsType in managed fields entry {at}")),
        other => return Some(format!("invalid fieldsType {other:?} in managed fields entry {at}")),
    }
    let why = FieldSet::fault(entry.get("fieldsV1").unwrap_or(&Value::Null))?;
    Some(format!(
        "error decoding versioned set from {} {}: error decoding set: {why}",
        text("manager"),
        text("operation")
    ))
}

/// What keeps entries that can be read from being kept.
pub(crate) fn faults(list: &Value) -> Faults {
    let mut faults = Faults::new();
    for (at, entry) in managers::items(list).iter().enumerate() {
        let path = field::index(&format!("metadata.{NAME}"), at);
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("");
        faults.extend(manager_faults(&field::child(&path, "manager"), text("manager")));
        if text("subresource").len() > SUBRESOURCE_MAX {
            faults.push(field::too_long(field::child(&path, "subresource"), SUBRESOURCE_MAX));
        }
    }
    faults
}

/// What is wrong with the name of a manager.
pub(crate) fn manager_faults(path: &str, manager: &str) -> Faults {
    let mut faults = Faults::new();
    if manager.len() > MANAGER_MAX {
        faults.push(field::too_long(path, MANAGER_MAX));
    }
    for (at, letter) in manager.char_indices().filter(|(_, letter)| letter.is_control()) {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(letter));
        faults.push(field::invalid(path, manager, &detail));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{fault, faults};
    use serde_json::json;

    #[test]
    fn entries_are_read_as_they_are_written_or_not_at_all() {
        let good = json!({
            "manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:a": {".": {}, "k:{\"b\":1}": {}, "v:\"c\"": {}, "i:7": {}, "z:later": {}}},
        });
        let with = |name: &str, value: serde_json::Value| {
            let mut entry = good.clone();
            entry[name] = value;
            fault(&json!([good, entry]))
        };
        assert_eq!(fault(&json!([good])), None);
        assert_eq!(with("fieldsV1", json!(null)), None);
        for (name, value, why) in [
            ("operation", json!("Other"), "operation must be `Apply` or `Update`"),
            ("apiVersion", json!(""), "apiVersion must not be empty"),
            ("fieldsType", json!(""), "missing fieldsType in managed fields entry 1"),
            ("fieldsType", json!("V9"), "invalid fieldsType \"V9\" in managed fields entry 1"),
            ("fieldsV1", json!({"f:a": {"k": {}}}), "key must be 2 characters long:"),
            ("fieldsV1", json!({"fa": {}}), "missing colon: fa"),
            ("fieldsV1", json!({"k:{": {}}), "error decoding set"),
            ("fieldsV1", json!({"f:a": {"i:x": {}}}), "error decoding set"),
            ("fieldsV1", json!({"f:a": 7}), "error decoding set"),
        ] {
            let said = with(name, value.clone()).unwrap_or_default();
            assert!(said.contains(why), "{name}: {value}: {said}");
        }
    }

    #[test]
    fn managers_and_parts_are_short_and_printable() {
        let long = json!([{"manager": "m".repeat(129), "subresource": "s".repeat(257)}, {"manager": "a\nb"}]);
        let paths: Vec<_> = faults(&long).into_iter().map(|cause| cause.field).collect();
        assert_eq!(
            paths,
            [
                "metadata.managedFields[0].manager",
                "metadata.managedFields[0].subresource",
                "metadata.managedFields[1].manager"
            ]
        );
        assert!(faults(&json!([{"manager": "m".repeat(128), "subresource": "s".repeat(256)}])).is_empty());
    }
}
