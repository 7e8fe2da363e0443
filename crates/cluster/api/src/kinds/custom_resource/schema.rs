//! The schema of a version: every value has a type, so that what is unknown can be told and dropped.

use super::{Faults, Place};

/// All faults of the schema of an object.
pub(super) fn validate(root: &Place<'_>, faults: &mut Faults) {
    let kind = root.at(&["type"]);
    match kind.text() {
        "" => faults.push(kind.required("must not be empty at the root")),
        "object" => {}
        _ => faults.push(kind.invalid("must be object at the root")),
    }
    inner(root, faults);
}

fn inner(schema: &Place<'_>, faults: &mut Faults) {
    let (properties, others) = (schema.at(&["properties"]), schema.at(&["additionalProperties"]));
    if properties.is_set() && others.is_set() {
        faults.push(others.forbidden("additionalProperties and properties are mutual exclusive"));
    }
    for (_, property) in properties.entries() {
        typed(&property, "must not be empty for specified object fields", faults);
    }
    if others.value.is_object() {
        typed(&others, "must not be empty for specified object fields", faults);
    }
    let item = schema.at(&["items"]);
    match item.value {
        serde_json::Value::Array(_) => {
            faults.push(item.forbidden("items must be a schema object and not an array"));
        }
        serde_json::Value::Object(_) => typed(&item, "must not be empty for specified array items", faults),
        _ if schema.at(&["type"]).text() == "array" => faults.push(item.required("must be specified")),
        _ => {}
    }
}

/// A value has a type, unless it may be anything or a number or text.
fn typed(schema: &Place<'_>, missing: &str, faults: &mut Faults) {
    let is_free = ["x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"]
        .iter()
        .any(|name| schema.at(&[name]).is_true());
    let kind = schema.at(&["type"]);
    if kind.is_empty() && !is_free {
        faults.push(kind.required(missing));
    }
    inner(schema, faults);
}
