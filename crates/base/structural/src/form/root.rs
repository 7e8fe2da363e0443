//! The schema of the whole resource.

use super::{is, is_nothing, text};
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use serde_json::Value;

/// What the whole may say when its status is checked alone, as `properties[status]`: nothing that would be lost then.
/// Upstream names them as its program does.
const BESIDE_STATUS: [(&str, &str); 22] = [
    ("description", "Description"),
    ("type", "Type"),
    ("format", "Format"),
    ("title", "Title"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("required", "Required"),
    ("items", "Items"),
    ("properties", "Properties"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields"),
    ("x-kubernetes-validations", "XValidations"),
];

pub(super) fn check(schema: &Value, path: &Path<'_>, has_status: bool, faults: &mut Told<FieldCause>) {
    if has_status {
        beside_status(schema, path, faults);
    }
    if is(schema, "nullable") {
        let path = Path::Member(path, "nullable");
        faults.push(|| field::forbidden(path.to_string(), "nullable cannot be true at the root"));
    }
}

fn beside_status(schema: &Value, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    let kind = text(schema, "type");
    if !kind.is_empty() && kind != "object" {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        let path = Path::Member(path, "type");
        faults.push(|| field::invalid(path.to_string(), kind, detail));
    }
    let is_known = |name: &str| BESIDE_STATUS.iter().any(|(known, _)| *known == name);
    let members = schema.as_object().into_iter().flatten();
    let other = members.into_iter().find(|(name, value)| !is_nothing(value) && !is_known(name));
    if let Some((name, _)) = other {
        let names = BESIDE_STATUS.map(|(_, name)| name).join(" ");
        let detail = format!(
            "only [{names}] fields are allowed at the root of the schema if the status subresource is enabled, not {name}"
        );
        faults.push(|| field::invalid_without_value(path.to_string(), &detail));
    }
}
