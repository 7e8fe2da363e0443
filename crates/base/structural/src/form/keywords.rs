//! The keywords of every part of a schema, conditions too.

use super::{given, is, is_nothing, list, named, sharing, text};
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use serde_json::Value;

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
/// Parts of JSON Schema that are not for custom resources.
const UNSUPPORTED: [&str; 6] =
    ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];
const IN_ADDITIONAL: &str = "must not be set inside additionalProperties applying to object metadata";

/// What is around a part.
#[derive(Clone, Copy, Default)]
struct Around {
    /// Whether it describes a resource's type or metadata.
    is_meta: bool,
    /// Why nothing may be filled in.
    no_default: Option<&'static str>,
}

pub(super) fn check(root: &Value, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    part(root, path, Around::default(), true, faults);
}

fn part(schema: &Value, path: &Path<'_>, around: Around, is_root: bool, faults: &mut Told<FieldCause>) {
    if faults.is_full() {
        return;
    }
    own(schema, path, around, faults);
    sharing::check(schema, path, faults);
    values_below(schema, path, around, is_root, faults);
    for keyword in ["allOf", "oneOf", "anyOf"] {
        let below = Path::Member(path, keyword);
        for (at, condition) in list(schema, keyword).iter().enumerate() {
            part(condition, &Path::Item(&below, at), around, false, faults);
        }
    }
    for keyword in ["not", "items"] {
        if let Some(below) = given(schema, keyword).filter(|below| below.is_object()) {
            part(below, &Path::Member(path, keyword), around, false, faults);
        }
    }
}

fn values_below(
    schema: &Value,
    path: &Path<'_>,
    around: Around,
    is_root: bool,
    faults: &mut Told<FieldCause>,
) {
    let at = Path::Member(path, "additionalProperties");
    if let Some(others) = given(schema, "additionalProperties") {
        if named(schema, "properties").next().is_some() && *others != Value::Bool(true) {
            let detail = "additionalProperties and properties are mutual exclusive";
            faults.push(|| field::forbidden(at.to_string(), detail));
        }
        let no_default = if around.is_meta { Some(IN_ADDITIONAL) } else { around.no_default };
        if others.is_object() {
            part(others, &at, Around { no_default, ..around }, false, faults);
        }
    }
    let properties = Path::Member(path, "properties");
    let is_resource = is_root || is(schema, "x-kubernetes-embedded-resource");
    for (name, property) in named(schema, "properties") {
        let of_resource = match name.as_str() {
            "metadata" => Some("must not be set in top-level metadata"),
            "apiVersion" => Some("must not be set in top-level apiVersion"),
            "kind" => Some("must not be set in top-level kind"),
            _ => None,
        };
        let around = Around {
            is_meta: around.is_meta || (is_resource && of_resource.is_some()),
            no_default: of_resource.filter(|_| is_root).or(around.no_default),
        };
        part(property, &Path::Key(&properties, name), around, false, faults);
    }
}

/// What a part says itself.
fn own(schema: &Value, path: &Path<'_>, around: Around, faults: &mut Told<FieldCause>) {
    let mut forbid = |name: &str, detail: &str| {
        faults.push(|| field::forbidden(Path::Member(path, name).to_string(), detail));
    };
    for name in UNSUPPORTED {
        let is_said = given(schema, name).is_some_and(|value| name == "dependencies" || !is_nothing(value));
        if is_said {
            forbid(name, &format!("{name} is not supported"));
        }
    }
    if is(schema, "uniqueItems") {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        forbid("uniqueItems", detail);
    }
    if given(schema, "items").is_some_and(Value::is_array) {
        forbid("items", "items must be a schema object and not an array");
    }
    if let Some(detail) = around.no_default.filter(|_| given(schema, "default").is_some()) {
        forbid("default", detail);
    }
    if around.is_meta && is(schema, "x-kubernetes-embedded-resource") {
        forbid("x-kubernetes-embedded-resource", "must not be used inside of resource meta");
    }
    let kind = text(schema, "type");
    if kind == "null" {
        forbid("type", "type cannot be set to null, use nullable as an alternative");
    }
    if !kind.is_empty() && !TYPES.contains(&kind) {
        faults.push(|| field::not_supported(Path::Member(path, "type").to_string(), kind, TYPES));
    }
    let unknown = "x-kubernetes-preserve-unknown-fields";
    if schema.get(unknown) == Some(&Value::Bool(false)) {
        faults.push(|| {
            field::invalid(Path::Member(path, unknown).to_string(), false, "must be true or undefined")
        });
    }
}
