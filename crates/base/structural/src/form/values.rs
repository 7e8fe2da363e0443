//! The part of a schema that says what values there are: each has a type, unless it may be anything or a number or text.

use super::{conditions, given, is, is_nothing, list, named, text};
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use serde_json::{Value, json};

/// What a schema is the schema of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Root,
    Item,
    Field,
}

pub(super) fn check(schema: &Value, level: Level, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    if faults.is_full() {
        return;
    }
    below(schema, level, path, faults);
    extensions(schema, path, faults);
    let (any, all) = (list(schema, "anyOf"), list(schema, "allOf"));
    let skips = conditions::Skips {
        any_of: is_int_or_string(any),
        first_of_all: all.first().is_some_and(|first| is_int_or_string(list(first, "anyOf"))),
    };
    conditions::of_value(schema, &skips, path, faults);
    of_type(schema, level, path, faults);
    of_resource(schema, level, path, faults);
}

/// The one condition that speaks of types.
fn is_int_or_string(any_of: &[Value]) -> bool {
    any_of == [json!({"type": "integer"}), json!({"type": "string"})]
}

fn below(schema: &Value, level: Level, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    let at = Path::Member(path, "items");
    match given(schema, "items") {
        None if text(schema, "type") == "array" => {
            faults.push(|| field::required(at.to_string(), "must be specified"));
        }
        Some(items) if items.is_object() => check(items, Level::Item, &at, faults),
        _ => {}
    }
    let properties = Path::Member(path, "properties");
    for (name, property) in named(schema, "properties") {
        check(property, Level::Field, &Path::Key(&properties, name), faults);
    }
    let at = Path::Member(path, "additionalProperties");
    if let Some(others) = given(schema, "additionalProperties") {
        if level == Level::Root {
            faults.push(|| field::forbidden(at.to_string(), "must not be used at the root"));
        }
        if others.is_object() {
            check(others, Level::Field, &at, faults);
        }
    }
}

fn extensions(schema: &Value, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    for name in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if is(schema, "x-kubernetes-int-or-string") && is(schema, name) {
            let at = Path::Member(path, name);
            let detail = "must be false if x-kubernetes-int-or-string is true";
            faults.push(|| field::invalid(at.to_string(), true, detail));
        }
    }
}

fn of_type(schema: &Value, level: Level, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    let at = Path::Member(path, "type");
    let kind = text(schema, "type");
    if is(schema, "x-kubernetes-embedded-resource") && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        faults.push(|| required_or_invalid(&at, kind, detail));
    } else if kind.is_empty()
        && !is(schema, "x-kubernetes-int-or-string")
        && !is(schema, "x-kubernetes-preserve-unknown-fields")
    {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        faults.push(|| field::required(at.to_string(), detail));
    }
    if level == Level::Root && !matches!(kind, "" | "object") {
        faults.push(|| field::invalid(at.to_string(), kind, "must be object at the root"));
    }
}

/// A word that is missing, or another one.
pub(super) fn required_or_invalid(path: &Path<'_>, given: &str, detail: &str) -> FieldCause {
    match given {
        "" => field::required(path.to_string(), detail),
        given => field::invalid(path.to_string(), given, detail),
    }
}

/// What every resource has is not for its schema to say.
fn of_resource(schema: &Value, level: Level, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    let is_embedded = is(schema, "x-kubernetes-embedded-resource");
    let properties = Path::Member(path, "properties");
    if is_embedded && given(schema, "additionalProperties").is_some() {
        let at = Path::Member(path, "additionalProperties");
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        faults.push(|| field::forbidden(at.to_string(), detail));
    }
    if is_embedded || level == Level::Root {
        for (name, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
            let Some(property) = schema.get("properties").and_then(|all| all.get(name)) else { continue };
            let kind = text(property, "type");
            if kind != wanted {
                let of = Path::Key(&properties, name);
                let at = Path::Member(&of, "type");
                faults.push(|| field::invalid(at.to_string(), kind, &format!("must be {wanted}")));
            }
        }
    }
    if level == Level::Root
        && let Some(metadata) = schema.get("properties").and_then(|all| all.get("metadata"))
        && !is_about_names(metadata)
    {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        faults.push(|| field::forbidden(Path::Key(&properties, "metadata").to_string(), detail));
    }
    let is_closed = !is(schema, "x-kubernetes-preserve-unknown-fields");
    if is_embedded && is_closed && named(schema, "properties").next().is_none() {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        faults.push(|| field::required(properties.to_string(), detail));
    }
}

/// Whether the metadata's schema says nothing but what names are.
fn is_about_names(metadata: &Value) -> bool {
    metadata.as_object().into_iter().flatten().all(|(name, value)| match name.as_str() {
        // Another keyword's check speaks of a default.
        "type" | "default" => true,
        "properties" => {
            named(metadata, "properties").all(|(name, _)| matches!(name.as_str(), "name" | "generateName"))
        }
        _ => is_nothing(value),
    })
}
