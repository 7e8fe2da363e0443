//! The schema of a version: every value has a type, so that what is unknown can be told and dropped.

use super::{Faults, Place};
use serde_json::Value;

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
/// Parts of JSON schema that are not for custom resources.
const UNSUPPORTED: &[&str] =
    &["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];
/// What only the schema of a value may say, not a condition on it.
const NOT_IN_CONDITIONS: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("default", "must be undefined to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("nullable", "must be false to be structural"),
];

/// All faults of the schema of an object.
pub(super) fn validate(root: &Place<'_>, faults: &mut Faults) {
    let kind = root.at(&["type"]);
    if !kind.is_empty() && kind.text() != "object" {
        faults.push(kind.invalid("must be object at the root"));
    }
    if root.at(&["nullable"]).is_true() {
        faults.push(root.at(&["nullable"]).forbidden("nullable cannot be true at the root"));
    }
    typed(root, "must not be empty at the root", faults);
}

/// A value has a type, unless it may be anything or a number or text.
fn typed(schema: &Place<'_>, missing: &str, faults: &mut Faults) {
    let is = |name: &str| schema.at(&[name]).is_true();
    let kind = schema.at(&["type"]);
    let embedded = "must be object if x-kubernetes-embedded-resource is true";
    match kind.text() {
        "object" => {}
        "" if is("x-kubernetes-embedded-resource") => faults.push(kind.required(embedded)),
        _ if is("x-kubernetes-embedded-resource") => faults.push(kind.invalid(embedded)),
        "" if is("x-kubernetes-int-or-string") || is("x-kubernetes-preserve-unknown-fields") => {}
        "" => faults.push(kind.required(missing)),
        _ => {}
    }
    keywords(schema, faults);
    members(schema, faults);
    conditions(schema, faults);
}

/// The schemas of what a value has within.
fn members(schema: &Place<'_>, faults: &mut Faults) {
    const FIELD: &str = "must not be empty for specified object fields";
    let (properties, others) = (schema.at(&["properties"]), schema.at(&["additionalProperties"]));
    if !properties.is_empty() && others.is_set() && !others.is_true() {
        faults.push(others.forbidden("additionalProperties and properties are mutual exclusive"));
    }
    for (_, property) in properties.entries() {
        typed(&property, FIELD, faults);
    }
    if others.value.is_object() {
        typed(&others, FIELD, faults);
    }
    let items = schema.at(&["items"]);
    match items.value {
        Value::Array(_) => faults.push(items.forbidden("items must be a schema object and not an array")),
        Value::Object(_) => typed(&items, "must not be empty for specified array items", faults),
        _ if schema.at(&["type"]).text() == "array" => faults.push(items.required("must be specified")),
        _ => {}
    }
}

fn keywords(schema: &Place<'_>, faults: &mut Faults) {
    let kind = schema.at(&["type"]);
    if !kind.is_empty() && !TYPES.contains(&kind.text()) {
        faults.push(kind.not_supported(TYPES));
    }
    for name in UNSUPPORTED {
        let keyword = schema.at(&[name]);
        if keyword.is_set() {
            faults.push(keyword.forbidden(&format!("{name} is not supported")));
        }
    }
    let unique = schema.at(&["uniqueItems"]);
    if unique.is_true() {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        faults.push(unique.forbidden(detail));
    }
    let unknown = schema.at(&["x-kubernetes-preserve-unknown-fields"]);
    if unknown.is_set() && !unknown.is_true() {
        faults.push(unknown.invalid("must be true or undefined"));
    }
    for (name, of, allowed) in [
        ("x-kubernetes-map-type", "object", &["atomic", "granular"][..]),
        ("x-kubernetes-list-type", "array", &["atomic", "set", "map"][..]),
    ] {
        let sharing = schema.at(&[name]);
        let detail = format!("must be {of} if {name} is specified");
        match kind.text() {
            _ if !sharing.is_set() => continue,
            "" => faults.push(kind.required(&detail)),
            given if given != of => faults.push(kind.invalid(&detail)),
            _ => {}
        }
        sharing.one_of(allowed, faults);
    }
}

/// What a value has to fulfil besides: conditions say nothing of types.
fn conditions(schema: &Place<'_>, faults: &mut Faults) {
    let is_int_or_string = schema.at(&["x-kubernetes-int-or-string"]).is_true();
    for list in ["allOf", "anyOf", "oneOf"] {
        for one in schema.at(&[list]).items() {
            condition(&one, is_int_or_string, faults);
        }
    }
    let not = schema.at(&["not"]);
    if not.is_set() {
        condition(&not, is_int_or_string, faults);
    }
}

/// A number or text may be told by its two types.
fn condition(condition: &Place<'_>, may_have_type: bool, faults: &mut Faults) {
    for (name, detail) in NOT_IN_CONDITIONS {
        let keyword = condition.at(&[name]);
        let is_said = keyword.is_set() && !matches!(keyword.value, Value::Bool(false));
        if is_said && !(may_have_type && *name == "type") {
            faults.push(keyword.forbidden(detail));
        }
    }
    for (_, property) in condition.at(&["properties"]).entries() {
        self::condition(&property, false, faults);
    }
    let items = condition.at(&["items"]);
    if items.value.is_object() {
        self::condition(&items, false, faults);
    }
    for list in ["allOf", "anyOf", "oneOf"] {
        for one in condition.at(&[list]).items() {
            self::condition(&one, may_have_type, faults);
        }
    }
}
