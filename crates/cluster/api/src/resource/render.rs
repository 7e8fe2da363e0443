//! Answers in the form the client asked for.

use bytes::Bytes;
use hako_store::{Entry, Revision};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::encoded::{decode_at, write_into, written};
use super::target::Target;
use crate::http::{Answer, Form, Outcome, RowObject, answer};
use crate::kinds::KindRow;

/// One object.
pub(super) fn object(row: &KindRow, form: Form, code: StatusCode, stored: &[u8], at: Revision) -> Outcome {
    let body = match form {
        Form::Object => written(row, stored, at),
        Form::Metadata => to_bytes(&partial(&decode_at(row, stored, at)?)),
        Form::Table(rows) => {
            let object = decode_at(row, stored, at)?;
            let version = at.0.to_string();
            to_bytes(&table(row, rows, &[object], json!({"resourceVersion": version}), true))
        }
    };
    Ok(answer::json_response(code, body))
}

/// One object that is decoded and not stored, as dry runs answer.
pub(super) fn value(row: &KindRow, form: Form, code: StatusCode, object: &Value) -> Answer {
    match form {
        Form::Object => answer::json(code, object),
        Form::Metadata => answer::json(code, &partial(object)),
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
    fn metadata(&self) -> Value {
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

/// A list.
pub(super) fn list(target: &Target, form: Form, head: &ListHead, entries: &[&Entry]) -> Outcome {
    let row = target.row;
    let body = match form {
        Form::Object => whole_list(row, head, entries),
        Form::Metadata => {
            let items: Outcome<Vec<Value>> = entries
                .iter()
                .map(|entry| Ok(partial(&decode_at(row, &entry.value, entry.modified)?)))
                .collect();
            to_bytes(&json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": head.metadata(), "items": items?,
            }))
        }
        Form::Table(rows) => {
            let objects: Outcome<Vec<Value>> =
                entries.iter().map(|entry| decode_at(row, &entry.value, entry.modified)).collect();
            to_bytes(&table(row, rows, &objects?, head.metadata(), true))
        }
    };
    Ok(answer::json_response(StatusCode::OK, body))
}

fn whole_list(row: &KindRow, head: &ListHead, entries: &[&Entry]) -> Bytes {
    let size: usize = entries.iter().map(|entry| entry.value.len() + 64).sum();
    let mut out = Vec::with_capacity(size + 256);
    let start = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
        row.kind,
        row.api_version(),
        head.metadata()
    );
    out.extend_from_slice(start.as_bytes());
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_into(&mut out, row, &entry.value, entry.modified);
    }
    out.extend_from_slice(b"]}");
    Bytes::from(out)
}

/// The metadata of an object as an object of its own.
pub(super) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata"),
    })
}

/// A table of objects.
pub(super) fn table(
    row: &KindRow,
    rows: RowObject,
    objects: &[Value],
    metadata: Value,
    with_columns: bool,
) -> Value {
    let now = Timestamp::now();
    let carried = |object: &Value| match rows {
        RowObject::None => Value::Null,
        RowObject::Metadata => partial(object),
        RowObject::Object => object.clone(),
    };
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| json!({"cells": (row.cells)(object, now), "object": carried(object)}))
        .collect();
    let columns: Vec<Value> = row
        .columns
        .iter()
        .filter(|_| with_columns)
        .map(|column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

pub(super) fn to_bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}
