//! Constructors of field causes in the API's words, so that every validator says the same thing the same way.

use hako_error::FieldCause;
use serde_json::Value;

/// Appends a name to a path.
#[must_use]
pub fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Appends a list index to a path.
#[must_use]
pub fn index(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// Appends a map key to a path.
#[must_use]
pub fn key(path: &str, key: &str) -> String {
    format!("{path}[{key}]")
}

fn cause(reason: &str, field: impl Into<String>, message: String) -> FieldCause {
    FieldCause { reason: reason.to_owned(), message, field: field.into() }
}

fn with_detail(head: String, detail: &str) -> String {
    if detail.is_empty() { head } else { format!("{head}: {detail}") }
}

/// A value as messages show it: texts quoted, all else as JSON.
#[must_use]
pub fn show(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// The field must be given; `detail` may be empty.
#[must_use]
pub fn required(field: impl Into<String>, detail: &str) -> FieldCause {
    cause("FieldValueRequired", field, with_detail("Required value".into(), detail))
}

/// The value can never be accepted.
#[must_use]
pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> FieldCause {
    let head = format!("Invalid value: {}", show(&value.into()));
    cause("FieldValueInvalid", field, with_detail(head, detail))
}

/// The value can never be accepted; it is too large to be shown.
#[must_use]
pub fn invalid_without_value(field: impl Into<String>, detail: &str) -> FieldCause {
    cause("FieldValueInvalid", field, with_detail("Invalid value".into(), detail))
}

/// The value is none of the allowed ones.
#[must_use]
pub fn not_supported(field: impl Into<String>, value: impl Into<Value>, supported: &[&str]) -> FieldCause {
    let list: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
    let head = format!("Unsupported value: {}", show(&value.into()));
    let detail =
        if list.is_empty() { String::new() } else { format!("supported values: {}", list.join(", ")) };
    cause("FieldValueNotSupported", field, with_detail(head, &detail))
}

/// The value was given before.
#[must_use]
pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> FieldCause {
    cause("FieldValueDuplicate", field, format!("Duplicate value: {}", show(&value.into())))
}

/// The field may not be set or changed now.
#[must_use]
pub fn forbidden(field: impl Into<String>, detail: &str) -> FieldCause {
    cause("FieldValueForbidden", field, with_detail("Forbidden".into(), detail))
}

/// What the value refers to does not exist.
#[must_use]
pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> FieldCause {
    cause("FieldValueNotFound", field, format!("Not found: {}", show(&value.into())))
}

/// The value has more than `max` bytes.
#[must_use]
pub fn too_long(field: impl Into<String>, max: usize) -> FieldCause {
    cause("FieldValueTooLong", field, format!("Too long: may not be more than {max} bytes"))
}

/// The list has more than `max` items.
#[must_use]
pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> FieldCause {
    cause("FieldValueTooMany", field, format!("Too many: {actual}: must have at most {max} items"))
}

/// The value has the wrong JSON type.
#[must_use]
pub fn type_invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> FieldCause {
    let head = format!("Invalid value: {}", show(&value.into()));
    cause("FieldValueTypeInvalid", field, with_detail(head, detail))
}

/// `field: message`, as one line shows a cause.
#[must_use]
pub fn line(cause: &FieldCause) -> String {
    if cause.field.is_empty() { cause.message.clone() } else { format!("{}: {}", cause.field, cause.message) }
}

/// All causes on one line: one as it is, several in brackets.
#[must_use]
pub fn lines(causes: &[FieldCause]) -> String {
    let mut all: Vec<String> = Vec::with_capacity(causes.len());
    for cause in causes {
        let text = line(cause);
        if !all.contains(&text) {
            all.push(text);
        }
    }
    match all.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_read_as_the_api_words_them() {
        assert_eq!(line(&required("spec.containers", "")), "spec.containers: Required value");
        assert_eq!(
            line(&not_supported("spec.restartPolicy", "x", &["Always", "Never"])),
            "spec.restartPolicy: Unsupported value: \"x\": supported values: \"Always\", \"Never\""
        );
        assert_eq!(line(&invalid("a", 7, "must be even")), "a: Invalid value: 7: must be even");
        assert_eq!(
            lines(&[required("a", ""), forbidden("b", "no")]),
            "[a: Required value, b: Forbidden: no]"
        );
    }
}
