//! Fills in the values that a schema gives to what is absent.

use crate::schema::Schema;
use serde_json::Value;

/// Fills in defaults, also in what is filled in. A `null` that may not be one counts as absent.
pub fn default(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(members) => {
            for (name, property) in &schema.properties {
                let Some(given) = &property.default else { continue };
                if members.get(name).is_none_or(|value| is_wrong_null(value, property)) {
                    members.insert(name.clone(), given.clone());
                }
            }
            for (name, value) in members.iter_mut() {
                if let Some(member) = schema.member(name) {
                    replace_null(value, member);
                    default(value, member);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                replace_null(item, schema);
                default(item, schema);
            }
        }
        _ => {}
    }
}

fn replace_null(value: &mut Value, schema: &Schema) {
    if let Some(given) = schema.default.as_ref().filter(|_| is_wrong_null(value, schema)) {
        *value = given.clone();
    }
}

fn is_wrong_null(value: &Value, schema: &Schema) -> bool {
    value.is_null() && !schema.is_nullable
}

/// Drops members that are `null` though they may not be and have no default: they count as absent.
pub fn drop_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(members) => members.retain(|name, value| {
            let Some(member) = schema.member(name) else { return true };
            if is_wrong_null(value, member) && member.default.is_none() && !schema.preserves_unknown {
                return false;
            }
            drop_nulls(value, member);
            true
        }),
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|item| drop_nulls(item, schema));
            }
        }
        _ => {}
    }
}
