//! What is put right in the metadata of what is sent.

use serde_json::Value;

use crate::admission::Notes;

/// When metadata are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// As they were sent.
    Sent,
    /// After plugins have changed them.
    Admitted,
}

/// An owner that is named twice in the same words is one owner; the sender is told.
pub(super) fn dedup_owners(object: &mut Value, notes: &Notes, moment: Moment) {
    let owners = object.get_mut("metadata").and_then(|metadata| metadata.get_mut("ownerReferences"));
    let Some(owners) = owners.and_then(Value::as_array_mut) else { return };
    let (mut kept, mut twice): (Vec<Value>, Vec<String>) = (Vec::with_capacity(owners.len()), Vec::new());
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            twice.push(owner["uid"].as_str().unwrap_or("").to_owned());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    if twice.is_empty() {
        return;
    }
    let when = match moment {
        Moment::Sent => "",
        Moment::Admitted => " after mutating admission happens",
    };
    notes.warn(format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and \
         may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        twice.join(", ")
    ));
}
