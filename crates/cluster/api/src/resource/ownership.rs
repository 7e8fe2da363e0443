//! Field ownership: which manager last wrote which field.

use serde_json::Value;

/// How an object comes to be changed.
#[derive(Clone, Debug)]
pub(super) struct Writer<'a> {
    /// The manager's name.
    pub manager: &'a str,
    /// Empty, or the subresource written through.
    pub subresource: &'a str,
}

/// Keeps the record of ownership through a write that is no apply.
pub(super) fn record(_writer: &Writer<'_>, old: Option<&Value>, new: &mut Value) {
    keep(old, new);
}

/// An update that says nothing about ownership keeps what is recorded.
fn keep(old: Option<&Value>, new: &mut Value) {
    let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    match old.and_then(|old| old.pointer("/metadata/managedFields")) {
        Some(fields) => metadata.insert("managedFields".to_owned(), fields.clone()),
        None => metadata.shift_remove("managedFields"),
    };
}
