//! The conditions of a definition.

use super::super::value::{items, object_mut, text};
use serde_json::{Value, json};

/// A condition as it is now.
pub(crate) fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": hako_kube::time::now(),
    })
}

/// The condition of that type.
pub(crate) fn condition_of<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, &["status", "conditions"]).iter().find(|condition| text(condition, &["type"]) == kind)
}

/// Puts a condition in its place. The time is when its status changed; one that says the same stays as it is.
pub(crate) fn set_condition(object: &mut Value, mut condition: Value) {
    let Some(status) = object_mut(object, &["status"]) else { return };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else { return };
    match conditions.iter_mut().find(|other| other["type"] == condition["type"]) {
        Some(other) => {
            if other["status"] == condition["status"] {
                condition["lastTransitionTime"] = other["lastTransitionTime"].clone();
            }
            *other = condition;
        }
        None => conditions.push(condition),
    }
}

/// How the approval of a definition in a group of Kubernetes itself stands: status, reason and message; none for other
/// groups.
pub(crate) fn approval(object: &Value) -> Option<(&'static str, &'static str, String)> {
    if !super::is_protected(text(object, &["spec", "group"])) {
        return None;
    }
    let head = format!("protected groups must have approval annotation {:?}", super::APPROVED);
    Some(match text(object, &["metadata", "annotations", super::APPROVED]) {
        "" => ("False", "MissingAnnotation", format!("{head}, {}", super::SEE)),
        value if value.starts_with("unapproved") => {
            ("False", "UnapprovedAnnotation", format!("not approved: {value:?}"))
        }
        value if super::is_address(value) => ("True", "ApprovedAnnotation", format!("approved in {value}")),
        value => {
            let text = format!(
                "{head} with either a URL or a reason starting with \"unapproved\", got {value:?}, {}",
                super::SEE
            );
            ("False", "InvalidAnnotation", text)
        }
    })
}
