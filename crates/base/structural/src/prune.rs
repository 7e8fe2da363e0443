//! Drops what a schema does not know.

use crate::schema::{Additional, Schema};
use hako_kube::field::{Path, Told};
use serde_json::{Map, Value};

/// Members of every resource, which its own type rules.
const OF_RESOURCES: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops from `value`, a resource, every member that `schema` does not know, and returns their paths in order, as far as
/// they can be told.
pub fn prune(value: &mut Value, schema: &Schema) -> Vec<String> {
    prune_part(value, schema, true)
}

/// The same of a value that may be no resource.
pub(crate) fn prune_part(value: &mut Value, schema: &Schema, is_resource: bool) -> Vec<String> {
    let mut pruner = Pruner { dropped: Told::default() };
    pruner.value(value, Some(schema), is_resource, &Path::Root);
    let mut dropped = pruner.dropped.into_all();
    dropped.sort();
    dropped
}

struct Pruner {
    dropped: Told<String>,
}

impl Pruner {
    /// `schema` is absent below what no schema describes: nothing is known there.
    fn value(&mut self, value: &mut Value, schema: Option<&Schema>, is_resource: bool, path: &Path<'_>) {
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
                    self.value(item, of_items, is_resource, &Path::Item(path, at));
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
        path: &Path<'_>,
    ) {
        let preserves = schema.is_some_and(|schema| schema.preserves_unknown);
        members.retain(|name, value| {
            if is_resource && OF_RESOURCES.contains(&name.as_str()) {
                return true;
            }
            let below = Path::Member(path, name);
            match known(schema, name) {
                Known::Schema(schema) => self.value(value, Some(schema), schema.is_embedded, &below),
                Known::Anything => self.value(value, None, false, &below),
                Known::Nothing if preserves => {}
                Known::Nothing => {
                    self.dropped.push(|| below.to_string());
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
