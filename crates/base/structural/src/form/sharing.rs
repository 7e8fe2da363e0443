//! How writers share lists and maps (`x-kubernetes-list-type`, `x-kubernetes-list-map-keys`, `x-kubernetes-map-type`).

use super::values::required_or_invalid;
use super::{given, is, list, text};
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use serde_json::Value;
use std::collections::HashSet;

const LIST: &str = "x-kubernetes-list-type";
const MAP: &str = "x-kubernetes-map-type";
const KEYS: &str = "x-kubernetes-list-map-keys";

pub(super) fn check(schema: &Value, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    let mut push = |cause: FieldCause| faults.push(|| cause);
    let kind = text(schema, "type");
    for (name, of, allowed) in
        [(MAP, "object", &["atomic", "granular"][..]), (LIST, "array", &["atomic", "set", "map"][..])]
    {
        let Some(sharing) = given(schema, name) else { continue };
        if kind != of {
            let detail = format!("must be {of} if {name} is specified");
            push(required_or_invalid(&Path::Member(path, "type"), kind, &detail));
        }
        if !allowed.contains(&sharing.as_str().unwrap_or("")) {
            push(field::not_supported(Path::Member(path, name).to_string(), sharing.clone(), allowed));
        }
    }
    let sharing = text(schema, LIST);
    if !list(schema, KEYS).is_empty() && sharing != "map" {
        let detail = format!("must be map if {KEYS} is non-empty");
        push(required_or_invalid(&Path::Member(path, LIST), sharing, &detail));
    }
    let Some(items) = given(schema, "items").filter(|_| matches!(sharing, "set" | "map")) else {
        if sharing == "map" {
            let detail = format!("must have a schema if {LIST} is map");
            push(field::required(Path::Member(path, "items").to_string(), &detail));
        }
        return;
    };
    let of_items = Path::Member(path, "items");
    if is(items, "nullable") {
        let detail = format!("cannot be nullable when {LIST} is {sharing}");
        push(field::forbidden(Path::Member(&of_items, "nullable").to_string(), &detail));
    }
    match sharing {
        "set" if kind == "array" => items_of_set(items, &of_items, faults),
        "map" => items_of_map(schema, items, path, faults),
        _ => {}
    }
}

/// Items of a set are told apart as wholes.
fn items_of_set(items: &Value, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    let (name, is_whole) = match text(items, "type") {
        "array" => (LIST, matches!(text(items, LIST), "" | "atomic")),
        "object" => (MAP, text(items, MAP) == "atomic"),
        _ => return,
    };
    if !is_whole {
        let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let at = Path::Member(path, name);
        faults.push(|| field::invalid(at.to_string(), text(items, name), detail));
    }
}

/// Items of a list by key have keys, which are always there.
fn items_of_map(schema: &Value, items: &Value, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    let (keys_path, of_items) = (Path::Member(path, KEYS), Path::Member(path, "items"));
    let keys: Vec<&str> = list(schema, KEYS).iter().filter_map(Value::as_str).collect();
    let mut push = |cause: FieldCause| faults.push(|| cause);
    if keys.is_empty() {
        let detail = format!("must not be empty if {LIST} is map");
        push(field::required(keys_path.to_string(), &detail));
    }
    if text(items, "type") != "object" {
        let detail = format!("must be object if parent array's {LIST} is map");
        let at = Path::Member(&of_items, "type");
        push(field::invalid(at.to_string(), text(items, "type"), &detail));
        return;
    }
    let wrong = |detail: &str| field::invalid(keys_path.to_string(), schema[KEYS].clone(), detail);
    let known = |key: &str| items.get("properties").and_then(|all| all.get(key));
    if !keys.iter().all(|key| known(key).is_some()) {
        push(wrong("entries must all be names of item properties"));
    }
    let mut seen = HashSet::new();
    if !keys.iter().all(|key| seen.insert(*key)) {
        push(wrong("must not contain duplicate entries"));
    }
    let required: HashSet<&str> = list(items, "required").iter().filter_map(Value::as_str).collect();
    let properties = Path::Member(&of_items, "properties");
    for key in keys {
        let Some(property) = known(key) else { continue };
        let of_key = Path::Key(&properties, key);
        key_of_map(property, required.contains(key), &of_key, faults);
    }
}

fn key_of_map(property: &Value, is_required: bool, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    if matches!(text(property, "type"), "array" | "object") {
        let detail = format!("must be a scalar type if parent array's {LIST} is map");
        let at = Path::Member(path, "type");
        faults.push(|| field::invalid(at.to_string(), text(property, "type"), &detail));
    }
    if !is_required && given(property, "default").is_none() {
        let detail =
            format!("this property is in {KEYS}, so it must have a default or be a required property");
        faults.push(|| field::required(Path::Member(path, "default").to_string(), &detail));
    }
    if is(property, "nullable") {
        let detail = format!("this property is in {KEYS}, so it cannot be nullable");
        faults.push(|| field::forbidden(Path::Member(path, "nullable").to_string(), &detail));
    }
}
