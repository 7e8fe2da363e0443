//! What is put right in the metadata of what is sent.

use std::collections::HashSet;

use hako_kube::field;
use serde_json::Value;

use super::encoded::head_value;
use super::target::Target;
use crate::admission::Notes;
use crate::http::{Failure, Outcome};

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

/// Namespace and name have to be those of the request; what is unsaid becomes so.
pub(super) fn place(object: &mut Value, target: &Target) -> Outcome<()> {
    in_namespace(object, target)?;
    if target.name.is_empty() {
        return Ok(());
    }
    let name = head_value(object, "name");
    if !name.is_empty() && name != target.name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    if name.is_empty() {
        object["metadata"]["name"] = target.name.as_str().into();
    }
    Ok(())
}

/// The namespace has to be that of the request.
pub(super) fn in_namespace(object: &mut Value, target: &Target) -> Outcome<()> {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err(Failure::bad_request("the object has no metadata"));
    };
    if !target.row.is_namespaced() {
        metadata.shift_remove("namespace");
        return Ok(());
    }
    let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or("");
    if !given.is_empty() && given != target.namespace {
        let text = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Failure::bad_request(text));
    }
    metadata.insert("namespace".to_owned(), target.namespace.as_str().into());
    Ok(())
}

/// An object that is there stays what it is, whatever those who are asked make of it.
pub(super) fn stay(new: &mut Value, old: &Value, target: &Target) -> Outcome<()> {
    in_namespace(new, target)?;
    if head_value(new, "uid").is_empty() && !head_value(old, "uid").is_empty() {
        new["metadata"]["uid"] = head_value(old, "uid").into();
    }
    let mut causes = Vec::new();
    let name = head_value(new, "name");
    if name.is_empty() {
        causes.push(field::required("metadata.name", "name or generateName is required"));
    }
    for (member, is) in [("name", name), ("uid", head_value(new, "uid"))] {
        if is != head_value(old, member) {
            causes.push(field::invalid(format!("metadata.{member}"), is, "field is immutable"));
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(target.invalid(causes)) }
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
