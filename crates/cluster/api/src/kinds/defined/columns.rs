//! The tables of defined kinds.

use super::definition::{Column, Version};
use crate::kinds::columns::{self, Column as Usual};
use crate::kinds::served::TableColumn;
use jiff::Timestamp;
use serde_json::Value;

/// The name, and what the definition says; the age where it says nothing.
pub(super) fn headings(version: &Version) -> Vec<TableColumn> {
    let mut all = vec![TableColumn::of(&Usual::NAME)];
    if version.columns.is_empty() {
        all.push(TableColumn::of(&Usual { kind: "date", ..Usual::AGE }));
    }
    all.extend(version.columns.iter().map(heading));
    all
}

fn heading(column: &Column) -> TableColumn {
    let description = match column.description.as_str() {
        "" => format!("Custom resource definition column (in JSONPath format): {}", column.path.text()),
        given => given.to_owned(),
    };
    TableColumn {
        name: column.name.clone().into(),
        kind: column.kind.clone().into(),
        format: column.format.clone().into(),
        priority: column.priority,
        description: description.into(),
    }
}

/// One object's cells.
pub(super) fn cells(version: &Version, object: &Value, now: Timestamp) -> Vec<Value> {
    let mut all = vec![columns::name(object)];
    if version.columns.is_empty() {
        all.push(columns::age(object, now));
    }
    all.extend(version.columns.iter().map(|column| cell(column, object, now)));
    all
}

/// What a column shows: nothing of what is of another type.
fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let Some(value) = column.path.first(object) else { return Value::Null };
    match (column.kind.as_str(), value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(_)) => value.clone(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => whole(number).into(),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) if hako_kube::time::parse(text).is_none() => "<invalid>".into(),
        ("date", Value::String(_)) => columns::since(Some(value), now).into(),
        _ => Value::Null,
    }
}

/// The part before the point.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| format!("{:.0}", number.as_f64()?.trunc()).parse().ok())
}
