//! The fields by which objects are selected.

use super::{Faults, Place};
use hako_kube::field;
use serde_json::Value;

/// How many fields a version may name.
const MAX_FIELDS: usize = 8;

/// Faults of the fields that a version names, at `place`; `schema` is the version's.
pub(super) fn validate(place: &Place<'_>, schema: &Value, faults: &mut Faults) {
    let mut seen: Vec<&str> = Vec::new();
    for one in place.items() {
        let path = one.at(&["jsonPath"]);
        if path.is_empty() {
            faults.push(path.required(""));
            continue;
        }
        let found = match followed(path.text(), schema) {
            Ok(found) => found,
            Err(fault) => {
                faults.push(path.invalid(&format!("is an invalid path: {fault}")));
                continue;
            }
        };
        if path.text() == ".metadata" || path.text().starts_with(".metadata.") {
            faults.push(path.invalid("must not point to fields in metadata"));
        }
        let kind = found.get("type").and_then(Value::as_str);
        if !matches!(kind, Some("string" | "boolean" | "integer")) {
            faults.push(path.invalid(
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats \
                 are allowed.",
            ));
        }
        // One more than fit is enough to know that there are too many.
        if seen.contains(&path.text()) {
            faults.push(path.duplicate());
        } else if seen.len() <= MAX_FIELDS {
            seen.push(path.text());
        }
    }
    if seen.len() > MAX_FIELDS {
        faults.push(field::too_many(place.path(), place.items().len(), MAX_FIELDS));
    }
}

/// The schema that a path leads to.
fn followed<'s>(path: &str, schema: &'s Value) -> Result<&'s Value, String> {
    if path.contains(['[', ']']) {
        return Err("array notation is not allowed".to_owned());
    }
    let Some(names) = path.strip_prefix('.') else { return Err(format!("expected [ or . but got: {path}")) };
    names.split('.').try_fold(schema, |schema, name| {
        let below = match schema.get("properties").and_then(Value::as_object) {
            Some(properties) if !properties.is_empty() => properties.get(name),
            _ => schema.get("additionalProperties"),
        };
        below.ok_or_else(|| "does not refer to a valid field".to_owned())
    })
}
