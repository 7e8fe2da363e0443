//! Lists whose items are told apart: no two may be the same (`x-kubernetes-list-type`).

use crate::schema::{ListKind, Schema};
use hako_error::FieldCause;
use hako_kube::field;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// What is twice in sets and in lists by key.
#[must_use]
pub fn duplicates(value: &Value, schema: &Schema) -> Vec<FieldCause> {
    let mut faults = Vec::new();
    walk(value, schema, "", &mut faults);
    faults
}

fn walk(value: &Value, schema: &Schema, path: &str, faults: &mut Vec<FieldCause>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if let Some(member) = schema.member(name) {
                    let is_property = schema.properties.contains_key(name);
                    let below = if is_property { field::child(path, name) } else { field::key(path, name) };
                    walk(value, member, &below, faults);
                }
            }
        }
        Value::Array(items) => {
            list(items, schema, path, faults);
            if let Some(schema) = &schema.items {
                for (at, item) in items.iter().enumerate() {
                    walk(item, schema, &field::index(path, at), faults);
                }
            }
        }
        _ => {}
    }
}

fn list(items: &[Value], schema: &Schema, path: &str, faults: &mut Vec<FieldCause>) {
    let told_apart_by: Vec<Value> = match &schema.list {
        ListKind::Atomic => return,
        ListKind::Set => items.to_vec(),
        ListKind::Map(keys) => {
            let of_items = schema.items.as_deref();
            items.iter().map(|item| Value::Object(key_of(item, keys, of_items))).collect()
        }
    };
    let (mut seen, mut told) = (HashSet::new(), HashSet::new());
    for (at, key) in told_apart_by.into_iter().enumerate() {
        let spelled = key.to_string();
        if !seen.insert(spelled.clone()) && told.insert(spelled) {
            faults.push(field::duplicate(field::index(path, at), key));
        }
    }
}

/// The members that an item is told apart by, with the defaults of those that are absent.
fn key_of(item: &Value, keys: &[String], schema: Option<&Schema>) -> Map<String, Value> {
    keys.iter()
        .filter_map(|key| {
            let given = item.get(key).cloned();
            let default = || schema?.properties.get(key)?.default.clone();
            Some((key.clone(), given.or_else(default)?))
        })
        .collect()
}
