//! Objects as stored bytes: `{"apiVersion":…,"kind":…,"metadata":{…},…}` without `resourceVersion`.
//!
//! INVARIANT: `apiVersion` and `kind`, which hold no quotes, commas or braces, come first and `metadata` third and not
//! empty; so the first `"metadata":{` is where the revision goes, and reading needs no parsing. White space may follow.

use bytes::Bytes;
use hako_store::{Entry, Revision};
use serde_json::Value;

use crate::http::{Failure, Outcome, SHARED_BYTES};
use crate::kinds::Served;

const METADATA: &[u8] = b"\"metadata\":{";

/// Encodes an object of a kind for the store.
pub(crate) fn encode(row: &Served, object: &mut Value) -> Outcome<Bytes> {
    row.write_stored(object);
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    metadata.map(|metadata| metadata.shift_remove("resourceVersion"));
    let mut out = Vec::with_capacity(1024);
    write_ordered(&mut out, object)?;
    out.extend_from_slice(row.strategy().mark());
    Ok(Bytes::from(out))
}

/// An object in the form in which stored ones are, without what a kind does to it.
pub(super) fn bytes_of(object: &Value) -> Outcome<Bytes> {
    let mut out = Vec::with_capacity(1024);
    write_ordered(&mut out, object)?;
    Ok(Bytes::from(out))
}

fn write_ordered(out: &mut Vec<u8>, object: &Value) -> Outcome<()> {
    let fault = || Failure::bad_request("the object is no JSON object with metadata");
    let map = object.as_object().ok_or_else(fault)?;
    if !map.get("metadata").is_some_and(Value::is_object) {
        return Err(fault());
    }
    out.push(b'{');
    for first in ["apiVersion", "kind", "metadata"] {
        let value = map.get(first).ok_or_else(fault)?;
        member(out, first, value);
    }
    for (name, value) in map {
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            member(out, name, value);
        }
    }
    out.push(b'}');
    Ok(())
}

fn member(out: &mut Vec<u8>, name: &str, value: &Value) {
    if out.len() > 1 {
        out.push(b',');
    }
    text(out, name);
    out.push(b':');
    self::value(out, value);
}

/// Appends JSON, as `serde_json` does, which looks at each byte of a text by itself.
fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(it) => text(out, it),
        Value::Array(items) => {
            let mut open = b'[';
            for item in items {
                out.push(std::mem::replace(&mut open, b','));
                self::value(out, item);
            }
            close(out, items.is_empty(), b"[]");
        }
        Value::Object(members) => {
            let mut open = b'{';
            for (name, member) in members {
                out.push(std::mem::replace(&mut open, b','));
                text(out, name);
                out.push(b':');
                self::value(out, member);
            }
            close(out, members.is_empty(), b"{}");
        }
        // INVARIANT: writing to a `Vec` cannot fail.
        other => drop(serde_json::to_writer(out, other)),
    }
}

fn close(out: &mut Vec<u8>, is_empty: bool, brackets: &[u8; 2]) {
    out.extend_from_slice(if is_empty { brackets } else { &brackets[1..] });
}

fn text(out: &mut Vec<u8>, text: &str) {
    // Without a way out, so that many bytes are compared at once.
    let is_odd = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if text.bytes().fold(false, |odd, byte| odd | is_odd(byte)) {
        // INVARIANT: writing to a `Vec` cannot fail.
        return drop(serde_json::to_writer(out, text));
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends the object, in the form of the row, with its revision.
pub(super) fn write_into(out: &mut Vec<u8>, row: &Served, stored: &[u8], revision: Revision) {
    if row.is_served_as_kept(stored) {
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
    row: &Served,
    stored: &Bytes,
    revision: Revision,
) -> Option<Bytes> {
    if stored.len() < SHARED_BYTES || !row.is_served_as_kept(stored) {
        write_into(out, row, stored, revision);
        return None;
    }
    let at = start_into(out, stored, revision);
    Some(stored.slice(at..stored.trim_ascii_end().len()))
}

/// Appends the object as it is kept with its revision.
fn splice_into(out: &mut Vec<u8>, stored: &[u8], revision: Revision) {
    let at = start_into(out, stored, revision);
    out.extend_from_slice(stored[at..].trim_ascii_end());
}

/// Where the first member of the metadata is.
fn metadata_at(stored: &[u8]) -> usize {
    // `apiVersion` and `kind` hold no comma: the second one stands before `"metadata":{`.
    let start = &stored[..stored.len().min(512)];
    let comma = |from: usize| Some(from + start.get(from..)?.iter().position(|byte| *byte == b',')? + 1);
    let at = comma(0).and_then(comma);
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
pub(super) fn written(row: &Served, stored: &[u8], revision: Revision) -> Bytes {
    let mut out = Vec::with_capacity(stored.len() + 48);
    write_into(&mut out, row, stored, revision);
    Bytes::from(out)
}

/// Decodes a stored object, revision put in.
pub(crate) fn decode(row: &Served, entry: &Entry) -> Outcome<Value> {
    decode_at(row, &entry.value, entry.modified)
}

pub(super) fn decode_at(row: &Served, stored: &[u8], revision: Revision) -> Outcome<Value> {
    let mut object: Value = serde_json::from_slice(stored).map_err(|error| {
        let text = "a stored object is damaged";
        hako_error::Error::new(hako_error::Kind::DataLoss, text).with_source(error)
    })?;
    if !row.is_served_as_kept(stored) {
        row.read_stored(&mut object);
    }
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
    fn values_are_written_as_serde_json_writes_them() {
        let odd: String = (0..0x300).filter_map(char::from_u32).collect();
        let values = json!([
            {}, [], "", odd, "plain", "é\u{7f}\u{2028}", null, true, -3, 0.5, 1e300, u64::MAX,
            {"a": {"b\"": [[], {}, [1, [2]]]}, "": "\\"},
        ]);
        let mut out = Vec::new();
        value(&mut out, &values);
        assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&values).unwrap());
    }

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
