//! Drops what a schema does not know.

use crate::schema::{Additional, Schema};
use hako_kube::field;
use serde_json::{Map, Value};

/// Members of every resource, which its own type rules.
const OF_RESOURCES: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops from `value`, a resource, every member that `schema` does not know, and returns their paths in order.
pub fn prune(value: &mut Value, schema: &Schema) -> Vec<String> {
    let mut pruner = Pruner { dropped: Vec::new() };
    pruner.value(value, Some(schema), true, "");
    pruner.dropped.sort();
    pruner.dropped
}

struct Pruner {
    dropped: Vec<String>,
}

impl Pruner {
    /// `schema` is absent below what no schema describes: nothing is known there.
    fn value(&mut self, value: &mut Value, schema: Option<&Schema>, is_resource: bool, path: &str) {
        match value {
            Value::Object(members) => self.object(members, schema, is_resource, path),
            Value::Array(items) => {
                let preserves = schema.is_some_and(|schema| schema.preserves_unknown);
                let of_items = schema.and_then(|schema| schema.items.as_deref());
                if preserves && of_items.is_none() {
                    return;
                }
                for (at, item) in items.iter_mut().enumerate() {
                    let is_resource = of_items.is_some_and(|schema| schema.is_embedded);
                    self.value(item, of_items, is_resource, &field::index(path, at));
                }
            }
            _ => {}
        }
    }

    fn object(
        &mut self,
        members: &mut Map<String, Value>,
        schema: Option<&Schema>,
        is_resource: bool,
        path: &str,
    ) {
        let preserves = schema.is_some_and(|schema| schema.preserves_unknown);
        members.retain(|name, value| {
            if is_resource && OF_RESOURCES.contains(&name.as_str()) {
                return true;
            }
            let below = field::child(path, name);
            match known(schema, name) {
                Known::Schema(schema) => self.value(value, Some(schema), schema.is_embedded, &below),
                Known::Anything => self.value(value, None, false, &below),
                Known::Nothing if preserves => {}
                Known::Nothing => {
                    self.dropped.push(below);
                    return false;
                }
            }
            true
        });
    }
}

enum Known<'s> {
    Schema(&'s Schema),
    Anything,
    Nothing,
}

fn known<'s>(schema: Option<&'s Schema>, name: &str) -> Known<'s> {
    let Some(schema) = schema else { return Known::Nothing };
    if let Some(property) = schema.properties.get(name) {
        return Known::Schema(property);
    }
    match &schema.additional {
        Additional::Fits(schema) => Known::Schema(schema),
        Additional::Any => Known::Anything,
        Additional::None => Known::Nothing,
    }
}
