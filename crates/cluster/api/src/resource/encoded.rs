//! Objects as stored bytes: `{"apiVersion":…,"kind":…,"metadata":{…},…}` without `resourceVersion`.
//!
//! INVARIANT: `apiVersion` and `kind`, which hold no quotes or braces, come first and `metadata` third and not
//! empty; so the first `"metadata":{` is where the revision goes, and reading needs no parsing.

use bytes::Bytes;
use hako_store::{Entry, Revision};
use serde_json::Value;

use crate::http::{Failure, Outcome};

const METADATA: &[u8] = b"\"metadata\":{";

/// Encodes an object for the store.
pub(crate) fn encode(object: &mut Value) -> Outcome<Bytes> {
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

/// Appends the object with its revision.
pub(super) fn splice_into(out: &mut Vec<u8>, stored: &[u8], revision: Revision) {
    let at = stored
        .windows(METADATA.len())
        .take(512)
        .position(|window| window == METADATA)
        .map_or(stored.len(), |at| at + METADATA.len());
    out.extend_from_slice(&stored[..at]);
    out.extend_from_slice(b"\"resourceVersion\":\"");
    out.extend_from_slice(revision.0.to_string().as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(&stored[at..]);
}

/// The object with its revision.
pub(super) fn spliced(stored: &[u8], revision: Revision) -> Bytes {
    let mut out = Vec::with_capacity(stored.len() + 48);
    splice_into(&mut out, stored, revision);
    Bytes::from(out)
}

/// Decodes a stored object, revision put in.
pub(super) fn decode(entry: &Entry) -> Outcome<Value> {
    decode_at(&entry.value, entry.modified)
}

pub(super) fn decode_at(stored: &[u8], revision: Revision) -> Outcome<Value> {
    let mut object: Value = serde_json::from_slice(stored).map_err(|error| {
        let text = "a stored object is damaged";
        hako_error::Error::new(hako_error::Kind::DataLoss, text).with_source(error)
    })?;
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
        let stored = encode(&mut object).unwrap();
        assert!(stored.starts_with(b"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{"));
        let read: Value = serde_json::from_slice(&spliced(&stored, Revision(42))).unwrap();
        assert_eq!(read["metadata"], json!({"name": "a", "resourceVersion": "42"}));
        assert_eq!(read["data"], object["data"]);
    }
}
