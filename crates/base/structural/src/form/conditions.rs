//! `allOf`, `anyOf`, `oneOf` and `not`: conditions on values, which say nothing of what values there are.

use super::{given, is_nothing, list, named};
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use serde_json::Value;

/// What only the schema of a value may say, and how it has to be in a condition.
const FORBIDDEN: [(&str, &str); 13] = [
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
];

/// Conditions that are not looked at, as they say that a value is a number or text.
#[derive(Clone, Copy, Default)]
pub(super) struct Skips {
    pub any_of: bool,
    /// The `anyOf` of the first one of `allOf`.
    pub first_of_all: bool,
}

/// The conditions on a value.
pub(super) fn of_value(schema: &Value, skips: &Skips, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    for keyword in ["anyOf", "allOf", "oneOf"] {
        let all = if keyword == "anyOf" && skips.any_of { &[] } else { list(schema, keyword) };
        let below = Path::Member(path, keyword);
        for (at, condition) in all.iter().enumerate() {
            let any_of = keyword == "allOf" && at == 0 && skips.first_of_all;
            let skips = Skips { any_of, first_of_all: false };
            of_condition(condition, &skips, &Path::Item(&below, at), faults);
        }
    }
    if let Some(not) = given(schema, "not") {
        of_condition(not, &Skips::default(), &Path::Member(path, "not"), faults);
    }
}

fn of_condition(condition: &Value, skips: &Skips, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    if faults.is_full() {
        return;
    }
    of_value(condition, skips, path, faults);
    if let Some(items) = given(condition, "items").filter(|items| items.is_object()) {
        of_condition(items, &Skips::default(), &Path::Member(path, "items"), faults);
    }
    let properties = Path::Member(path, "properties");
    for (name, property) in named(condition, "properties") {
        let at = Path::Key(&properties, name);
        if name == "metadata" {
            faults.push(|| field::forbidden(at.to_string(), "must not be specified in a nested context"));
        }
        of_condition(property, &Skips::default(), &at, faults);
    }
    for (name, detail) in FORBIDDEN {
        // Even a default that is empty is one, and so is a schema that says nothing.
        let is_said = given(condition, name).is_some_and(|value| match name {
            "default" => true,
            "additionalProperties" => *value != Value::Bool(false),
            _ => !is_nothing(value),
        });
        if is_said {
            faults.push(|| field::forbidden(Path::Member(path, name).to_string(), detail));
        }
    }
}
