//! What is put right in the metadata of what is sent.

use serde_json::Value;

use crate::admission::Notes;
use std::collections::HashSet;

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
    let mut seen: HashSet<&Value> = HashSet::with_capacity(owners.len());
    let is_first: Vec<bool> = owners.iter().map(|owner| seen.insert(owner)).collect();
    let again = owners.iter().zip(&is_first).filter(|(_, is_first)| !**is_first);
    let twice: Vec<String> = again.map(|(owner, _)| owner["uid"].as_str().unwrap_or("").to_owned()).collect();
    if twice.is_empty() {
        return;
    }
    let mut is_first = is_first.into_iter();
    owners.retain(|_| is_first.next().unwrap_or(true));
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_many_owners_the_first_of_each_stays() {
        const MANY: usize = 50_000;
        let owner = |at: usize| json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": format!("{}", at % MANY)});
        let all = |count: usize| -> Value { (0..count).map(owner).collect() };
        let mut object = json!({"metadata": {"ownerReferences": all(MANY + 2)}});
        let notes = Notes::default();
        dedup_owners(&mut object, &notes, Moment::Sent);
        assert_eq!(object["metadata"]["ownerReferences"], all(MANY));
        let warnings = notes.warnings();
        assert!(
            warnings.len() == 1 && warnings[0].ends_with("duplicate UID(s) observed: 0, 1"),
            "{warnings:?}"
        );
    }
}
