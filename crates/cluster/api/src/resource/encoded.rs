//! Objects as stored bytes: `{"apiVersion":…,"kind":…,"metadata":{…},…}` without `resourceVersion`.
//!
//! INVARIANT: `apiVersion` and `kind`, which hold no quotes, commas or braces, come first and `metadata` third and not
//! empty; so the first `"metadata":{` is where the revision goes, and reading needs no parsing.

use bytes::Bytes;
use hako_store::{Entry, Revision};
use serde_json::Value;

use crate::http::{Failure, Outcome, SHARED_BYTES};
use crate::kinds::KindRow;

const METADATA: &[u8] = b"\"metadata\":{";

/// Encodes an object of a kind for the store.
pub(crate) fn encode(row: &KindRow, object: &mut Value) -> Outcome<Bytes> {
    row.write_stored(object);
    let fault = || Failure::bad_request("the object is no JSON object with metadata");
    let map = object.as_object_mut().ok_or_else(fault)?;
    let metadata = map.get_mut("metadata").and_then(Value::as_object_mut).ok_or_else(fault)?;
    metadata.shift_remove("resourceVersion");
    let mut out = Vec::with_capacity(1024);
    out.push(b'{');
    for first in ["apiVersion", "kind", "metadata"] {
        let value = map.get(first).ok_or_else(fault)?;
        member(&mut out, first, value);
    }
    for (name, value) in map.iter() {
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            member(&mut out, name, value);
        }
    }
    out.push(b'}');
    Ok(Bytes::from(out))
}

fn member(out: &mut Vec<u8>, name: &str, value: &Value) {
    if out.len() > 1 {
        out.push(b',');
    }
    // INVARIANT: writing a `Value` to a `Vec` cannot fail.
    let _ = serde_json::to_writer(&mut *out, name);
    out.push(b':');
    let _ = serde_json::to_writer(&mut *out, value);
}

/// Appends the object, in the form of the row, with its revision.
pub(super) fn write_into(out: &mut Vec<u8>, row: &KindRow, stored: &[u8], revision: Revision) {
    if row.stored.is_none() {
        return splice_into(out, stored, revision);
    }
    match decode_at(row, stored, revision) {
        // INVARIANT: writing a `Value` to a `Vec` cannot fail.
        Ok(object) => drop(serde_json::to_writer(out, &object)),
        // A damaged object is shown as it is: a reader of one sees what a reader of the other form would.
        Err(_) => splice_into(out, stored, revision),
    }
}

/// Appends the object in the form of the row, or only its start where the rest, which it then answers, is long enough
/// to be sent from where it is.
pub(super) fn write_shared(
    out: &mut Vec<u8>,
    row: &KindRow,
    stored: &Bytes,
    revision: Revision,
) -> Option<Bytes> {
    if row.stored.is_some() || stored.len() < SHARED_BYTES {
        write_into(out, row, stored, revision);
        return None;
    }
    let at = start_into(out, stored, revision);
    Some(stored.slice(at..))
}

/// Appends the object as it is kept with its revision.
fn splice_into(out: &mut Vec<u8>, stored: &[u8], revision: Revision) {
    let at = start_into(out, stored, revision);
    out.extend_from_slice(&stored[at..]);
}

/// Where the first member of the metadata is.
fn metadata_at(stored: &[u8]) -> usize {
    // `apiVersion` and `kind` hold no comma: the second one stands before `"metadata":{`.
    let mut commas = stored.iter().enumerate().take(512).filter(|(_, byte)| **byte == b',');
    let at = commas.nth(1).map(|(at, _)| at + 1);
    let at = at.filter(|at| stored[*at..].starts_with(METADATA));
    at.map_or(stored.len(), |at| at + METADATA.len())
}

/// Appends the start of an object as it is kept, with its revision; answers where it goes on.
fn start_into(out: &mut Vec<u8>, stored: &[u8], revision: Revision) -> usize {
    let at = metadata_at(stored);
    out.extend_from_slice(&stored[..at]);
    out.extend_from_slice(b"\"resourceVersion\":\"");
    // INVARIANT: writing a number to a `Vec` cannot fail.
    let _ = serde_json::to_writer(&mut *out, &revision.0);
    out.extend_from_slice(b"\",");
    at
}

/// The object, in the form of the row, with its revision.
pub(super) fn written(row: &KindRow, stored: &[u8], revision: Revision) -> Bytes {
    let mut out = Vec::with_capacity(stored.len() + 48);
    write_into(&mut out, row, stored, revision);
    Bytes::from(out)
}

/// Decodes a stored object, revision put in.
pub(super) fn decode(row: &KindRow, entry: &Entry) -> Outcome<Value> {
    decode_at(row, &entry.value, entry.modified)
}

pub(super) fn decode_at(row: &KindRow, stored: &[u8], revision: Revision) -> Outcome<Value> {
    let mut object: Value = serde_json::from_slice(stored).map_err(|error| {
        let text = "a stored object is damaged";
        hako_error::Error::new(hako_error::Kind::DataLoss, text).with_source(error)
    })?;
    row.read_stored(&mut object);
    object["metadata"]["resourceVersion"] = revision.0.to_string().into();
    Ok(object)
}

/// `metadata` member of an object as text, empty where missing.
pub(crate) fn head_value<'v>(object: &'v Value, name: &str) -> &'v str {
    object.get("metadata").and_then(|metadata| metadata.get(name)).and_then(Value::as_str).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_revision_is_put_into_stored_bytes_without_parsing() {
        let mut object = json!({
            "data": {"x": "\"metadata\":{"},
            "metadata": {"name": "a", "resourceVersion": "7"},
            "kind": "ConfigMap",
            "apiVersion": "v1",
        });
        let row = crate::kinds::by_kind("", "v1", "ConfigMap").unwrap();
        let stored = encode(row, &mut object).unwrap();
        assert!(stored.starts_with(b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{"));
        let read: Value = serde_json::from_slice(&written(row, &stored, Revision(42))).unwrap();
        assert_eq!(read["metadata"], json!({"name": "a", "resourceVersion": "42"}));
        assert_eq!(read["data"], object["data"]);
    }
}
