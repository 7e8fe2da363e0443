//! Whether the schema of a definition has the form that lets objects be pruned, defaulted and checked by it: everything
//! has a type, and what conditions speak of is described outside of them.
//!
//! ```text
//!   JSON ─► keywords, values, sharing: every part ─► read ─► defaults ─► rules: types and costs ─► Schema
//! ```
//! A step is taken only where those before found nothing: what is wrong there would be told twice.

mod complete;
mod conditions;
mod defaults;
mod keywords;
mod root;
mod sharing;
#[cfg(test)]
mod tests;
mod values;

use crate::patterns::Patterns;
use crate::rules::check_at;
use crate::schema::Schema;
use hako_error::FieldCause;
use hako_kube::field::{Path, Told};
use serde_json::Value;

/// Reads the schema of a resource, whose path in its definition is `path`, if nothing is wrong with it; `has_status`
/// where the resource has a status that is written apart. All schemas of a definition share its patterns.
///
/// # Errors
/// Everything that is wrong with it, each with its path.
pub fn check_schema(
    json: &Value,
    path: &str,
    has_status: bool,
    patterns: &mut Patterns,
) -> Result<Schema, Vec<FieldCause>> {
    let path = &Path::Member(&Path::Root, path);
    let mut faults = Told::default();
    root::check(json, path, has_status, &mut faults);
    values::check(json, values::Level::Root, path, &mut faults);
    complete::check(json, path, &mut faults);
    keywords::check(json, path, &mut faults);
    if !faults.is_empty() {
        return Err(faults.into_all());
    }
    let schema = Schema::read_at(json, path, patterns)?;
    let faults = defaults::check(&schema, path);
    if !faults.is_empty() {
        return Err(faults);
    }
    let faults = check_at(&schema, path);
    if faults.is_empty() { Ok(schema) } else { Err(faults) }
}

/// What a schema says under a name; null is nothing.
fn given<'v>(schema: &'v Value, name: &str) -> Option<&'v Value> {
    schema.get(name).filter(|value| !value.is_null())
}

fn is(schema: &Value, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

fn text<'v>(schema: &'v Value, name: &str) -> &'v str {
    schema.get(name).and_then(Value::as_str).unwrap_or("")
}

fn list<'v>(schema: &'v Value, name: &str) -> &'v [Value] {
    schema.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The schemas by name that there are under a keyword.
fn named<'v>(schema: &'v Value, keyword: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    schema.get(keyword).and_then(Value::as_object).into_iter().flatten()
}

/// Whether a keyword says as much as an absent one.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}
