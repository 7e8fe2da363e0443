//! Of definitions of resources.

use super::super::value::items;
use super::Warnings;
use serde_json::Value;

/// Schemas that are looked into below one another.
const DEPTH: usize = 64;

/// Of a definition: formats that nothing checks, where they are new.
pub(in super::super) fn definition(new: &Value, old: Option<&Value>) -> Warnings {
    let before = old.map(formats).unwrap_or_default();
    let told = formats(new).into_iter().filter(|format| !before.contains(format));
    told.map(|format| format!("unrecognized format {format:?}")).collect()
}

fn formats(definition: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    for version in items(definition, &["spec", "versions"]) {
        if let Some(schema) = version.pointer("/schema/openAPIV3Schema") {
            look(schema, DEPTH, &mut found);
        }
    }
    found
}

fn look<'a>(schema: &'a Value, depth: usize, found: &mut Vec<&'a str>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    let text = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or("");
    let format = text("format");
    if !format.is_empty()
        && !hako_structural::is_known_format(text("type"), format)
        && !found.contains(&format)
    {
        found.push(format);
    }
    for name in ["items", "not", "additionalProperties"] {
        schema.get(name).into_iter().filter(|it| it.is_object()).for_each(|it| look(it, depth, found));
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        items(schema, &[name]).iter().for_each(|it| look(it, depth, found));
    }
    for name in ["properties", "patternProperties", "definitions"] {
        let all = schema.get(name).and_then(Value::as_object);
        all.into_iter().flatten().for_each(|(_, it)| look(it, depth, found));
    }
}
