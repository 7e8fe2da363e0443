//! Answers in the form the client asked for.

use bytes::Bytes;
use hako_store::Revision;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::encoded::{decode_at, written};
use crate::http::{Answer, Form, Meta, Outcome, RowObject, Rows, answer};
use crate::kinds::Served;

/// One object.
pub(super) fn object(row: &Served, form: Form, code: StatusCode, stored: &[u8], at: Revision) -> Outcome {
    let body = match form {
        Form::Object => written(row, stored, at),
        Form::Metadata(version) => to_bytes(&partial(&decode_at(row, stored, at)?, version)),
        Form::Table(rows) => {
            let object = decode_at(row, stored, at)?;
            let version = at.0.to_string();
            to_bytes(&table(row, rows, &[object], json!({"resourceVersion": version}), true))
        }
    };
    Ok(answer::json_response(code, body))
}

/// One object that is decoded and not stored, as dry runs answer.
pub(super) fn value(row: &Served, form: Form, code: StatusCode, object: &Value) -> Answer {
    match form {
        Form::Object => answer::json(code, object),
        Form::Metadata(version) => answer::json(code, &partial(object, version)),
        Form::Table(rows) => {
            answer::json(code, &table(row, rows, std::slice::from_ref(object), json!({}), true))
        }
    }
}

/// The head of a list.
pub(super) struct ListHead {
    pub revision: Revision,
    pub continue_token: Option<String>,
    pub remaining: Option<u64>,
}

impl ListHead {
    pub(super) fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.revision.0.to_string()});
        if let Some(token) = &self.continue_token {
            metadata["continue"] = token.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }
}

/// The metadata of an object as an object of its own.
pub(super) fn partial(object: &Value, version: Meta) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": version.api_version(),
        "metadata": object.get("metadata"),
    })
}

/// A table of objects.
pub(super) fn table(
    row: &Served,
    rows: Rows,
    objects: &[Value],
    metadata: Value,
    with_columns: bool,
) -> Value {
    let now = Timestamp::now();
    let version = rows.version.api_version();
    let rows: Vec<Value> = objects.iter().map(|object| table_row(row, rows, object.clone(), now)).collect();
    let columns = if with_columns { columns(row) } else { Vec::new() };
    json!({
        "kind": "Table", "apiVersion": version, "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

/// What a table's columns are.
pub(super) fn columns(row: &Served) -> Vec<Value> {
    let columns = row.columns.iter().map(|column| {
        json!({
            "name": column.name, "type": column.kind, "format": column.format,
            "description": column.description, "priority": column.priority,
        })
    });
    columns.collect()
}

/// One object as a table's row.
pub(super) fn table_row(row: &Served, rows: Rows, object: Value, now: Timestamp) -> Value {
    let cells = row.cells(&object, now);
    let carried = match rows.object {
        RowObject::None => Value::Null,
        RowObject::Metadata => partial(&object, rows.version),
        RowObject::Object => object,
    };
    json!({"cells": cells, "object": carried})
}

pub(super) fn to_bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}
