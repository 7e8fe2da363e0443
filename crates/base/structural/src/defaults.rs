//! Fills in the values that a schema gives to what is absent.

use crate::schema::{Additional, Schema};
use serde_json::{Map, Value};

/// Fills in defaults, also in what is filled in. A `null` that may not be one counts as absent: where there is no default for
/// it, it is dropped.
pub fn fill(value: &mut Value, schema: &Schema) {
    walk(value, schema, true);
}

/// The same, but leaves a `null` alone for which there is no default.
pub fn default(value: &mut Value, schema: &Schema) {
    walk(value, schema, false);
}

fn walk(value: &mut Value, schema: &Schema, drops_nulls: bool) {
    match value {
        Value::Object(members) => object(members, schema, drops_nulls),
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for item in items {
                if !replaced(item, schema) {
                    walk(item, schema, drops_nulls);
                }
            }
        }
        _ => {}
    }
}

fn object(members: &mut Map<String, Value>, schema: &Schema, drops_nulls: bool) {
    let additional = match &schema.additional {
        Additional::Fits(schema) => Some(&**schema),
        _ => None,
    };
    let mut missing = schema.properties.defaulted().len();
    members.retain(|name, value| {
        let property = schema.properties.get(name);
        missing -= usize::from(property.is_some_and(|property| property.default.is_some()));
        let Some(member) = property.or(additional) else { return true };
        if is_wrong_null(value, member) {
            return replaced(value, member) || !drops_nulls || schema.preserves_unknown;
        }
        walk(value, member, drops_nulls);
        true
    });
    if missing == 0 {
        return;
    }
    for (name, property) in schema.properties.defaulted().flatten() {
        if let Some(given) = property.default.as_ref().filter(|_| !members.contains_key(name)) {
            members.insert(name.clone(), filled_in(given, property));
        }
    }
}

/// Whether a value is a `null` that may not be one, in place of which there is the default now.
fn replaced(value: &mut Value, schema: &Schema) -> bool {
    let given = schema.default.as_ref().filter(|_| is_wrong_null(value, schema));
    if let Some(given) = given {
        *value = filled_in(given, schema);
    }
    given.is_some()
}

/// A default with what is absent in it.
fn filled_in(given: &Value, schema: &Schema) -> Value {
    let mut value = given.clone();
    walk(&mut value, schema, false);
    value
}

fn is_wrong_null(value: &Value, schema: &Schema) -> bool {
    value.is_null() && !schema.is_nullable
}
