//! Objects as stored bytes: `{"apiVersion":…,"kind":…,"metadata":{…},…}` without `resourceVersion`.
//!
//! INVARIANT: `apiVersion` and `kind`, which hold no quotes, commas or braces, come first and `metadata` third and not
//! empty; so the first `"metadata":{` is where the revision goes, and reading needs no parsing. White space may follow.

use std::ops::Range;

use bytes::Bytes;
use hako_store::{Entry, Revision};
use serde_json::Value;

use crate::http::{Failure, Outcome, SHARED_BYTES};
use crate::kinds::Served;
use crate::patch::apply::Record;
use crate::schema::{self, encode};

const METADATA: &[u8] = b"\"metadata\":{";
const OWNERS: &[u8] = b"\"managedFields\":";
/// Bytes that an object takes at least, mostly.
const ROOM: usize = 2048;

/// Encodes an object of a kind for the store.
pub(crate) fn encode(row: &Served, object: &mut Value) -> Outcome<Bytes> {
    encode_with(row, object, &Record::default())
}

/// The same of an object that does not have with it who owns what.
pub(super) fn encode_with(row: &Served, object: &mut Value, record: &Record) -> Outcome<Bytes> {
    row.write_stored(object);
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    metadata.map(|metadata| metadata.shift_remove("resourceVersion"));
    let mut out = Vec::with_capacity(ROOM);
    write_ordered(&mut out, object, record)?;
    out.extend_from_slice(row.strategy().mark());
    Ok(Bytes::from(out))
}

/// An object in the form in which stored ones are, without what a kind does to it.
pub(super) fn bytes_of(object: &Value) -> Outcome<Bytes> {
    let mut out = Vec::with_capacity(ROOM);
    write_ordered(&mut out, object, &Record::default())?;
    Ok(Bytes::from(out))
}

fn write_ordered(out: &mut Vec<u8>, object: &Value, record: &Record) -> Outcome<()> {
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
    if let Some(text) = record.text() {
        // Behind what the metadata have.
        out.pop();
        if !out.ends_with(b"{") {
            out.push(b',');
        }
        out.extend_from_slice(OWNERS);
        out.extend_from_slice(text);
        out.push(b'}');
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
    encode::text(out, name);
    out.push(b':');
    encode::value(out, value);
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
    let mut object = schema::decode::stored(stored).map_err(|error| {
        let text = "a stored object is damaged";
        hako_error::Error::new(hako_error::Kind::DataLoss, text).with_source(error)
    })?;
    if !row.is_served_as_kept(stored) {
        row.read_stored(&mut object);
    }
    object["metadata"]["resourceVersion"] = revision.0.to_string().into();
    Ok(object)
}

/// The same, and who owns what of it apart from it: that has as many nodes as the object itself, and most writes change
/// little of it.
pub(super) fn decode_apart(row: &Served, entry: &Entry) -> Outcome<(Value, Record)> {
    let Some(Owners { with_name, value }) = Owners::find(&entry.value) else {
        let mut object = decode(row, entry)?;
        let record = Record::take(&mut object);
        return Ok((object, record));
    };
    let rest = [&entry.value[..with_name.start], &entry.value[with_name.end..]].concat();
    Ok((decode_at(row, &rest, entry.modified)?, Record::of(entry.value.slice(value))))
}

/// Where the metadata of a stored object say who owns what.
#[derive(Debug)]
struct Owners {
    /// With a comma, so that the rest is an object.
    with_name: Range<usize>,
    value: Range<usize>,
}

impl Owners {
    /// None where they do not say it, or are not as we write them.
    fn find(stored: &[u8]) -> Option<Self> {
        let mut at = metadata_at(stored);
        loop {
            let begin = at;
            let from = if stored.get(begin..)?.starts_with(OWNERS) {
                begin + OWNERS.len()
            } else {
                let name = value_end(stored, begin).filter(|_| stored[begin] == b'"')?;
                (*stored.get(name)? == b':').then_some(name + 1)?
            };
            let end = value_end(stored, from)?;
            let is_last = match stored.get(end)? {
                b',' => false,
                b'}' => true,
                _ => return None,
            };
            if from == begin + OWNERS.len() {
                let with_name = match (is_last, stored[begin - 1]) {
                    (false, _) => begin..end + 1,
                    (true, b',') => begin - 1..end,
                    (true, _) => return None,
                };
                return Some(Self { with_name, value: from..end });
            }
            if is_last {
                return None;
            }
            at = end + 1;
        }
    }
}

/// Where a value ends that begins at a place; none if there is white space between its parts.
fn value_end(json: &[u8], begin: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = begin;
    loop {
        match json.get(at)? {
            b'"' => {
                at += 1;
                loop {
                    match json.get(at)? {
                        b'"' => break,
                        b'\\' => at += 2,
                        _ => at += 1,
                    }
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b' ' | b'\t' | b'\n' | b'\r' => return None,
            b',' | b':' if depth == 0 => return None,
            _ if depth > 0 => {}
            // A number or a word.
            _ => {
                let length = json[at..].iter().position(|byte| matches!(byte, b',' | b'}' | b']'));
                return length.map(|length| at + length);
            }
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
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
    fn who_owns_what_is_found_wherever_it_is_in_the_metadata() {
        let row = crate::kinds::by_kind("", "v1", "ConfigMap").unwrap();
        let fields = r#"[{"manager":"a}]\\\"","fieldsV1":{"f:a":{"k:{\"b\":[1]}":{}}}},7]"#;
        let of = |metadata: &str| {
            let text = format!(
                r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{{metadata}}},"data":{{"managedFields":"x"}}}}"#
            );
            let value = Bytes::from(text);
            Entry { key: Bytes::new(), value, created: Revision(1), modified: Revision(7), lease: None }
        };
        for metadata in [
            format!(r#""name":"a","managedFields":{fields}"#),
            format!(r#""managedFields":{fields},"name":"a""#),
            format!(
                r#""labels":{{"managedFields":"[]"}},"managedFields":{fields},"name":"a","generation":-1"#
            ),
            format!(r#""generation":12,"is":true,"no":null,"name":"a","managedFields":{fields}"#),
            format!(r#""managedFields":{fields}"#),
            format!(r#" "name" : "a", "managedFields" : {fields} "#),
            r#""name":"a""#.to_owned(),
        ] {
            let entry = of(&metadata);
            let mut whole = decode(row, &entry).unwrap();
            let (apart, record) = decode_apart(row, &entry).unwrap();
            assert!(apart["metadata"].get("managedFields").is_none(), "{metadata}");
            let mut again = apart.clone();
            record.put(&mut again);
            assert_eq!(again, whole, "{metadata}");
            if metadata.len() < fields.len() + 20 || metadata.starts_with(' ') {
                continue;
            }
            assert!(Owners::find(&entry.value).is_some(), "{metadata}");
            let (mut one, kept) = (apart, encode(row, &mut whole).unwrap());
            let two = encode_with(row, &mut one, &record).unwrap();
            let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
            assert_eq!(read(&two), read(&kept), "{metadata}");
        }
    }

    #[test]
    fn what_is_cut_short_has_no_owners() {
        let text = br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a\\","managedFields":[{}]},"data":{}}"#;
        let whole = Owners::find(text).unwrap();
        for end in 0..text.len() {
            let found = Owners::find(&text[..end]);
            assert_eq!(found.is_some(), end > whole.value.end, "{end}");
        }
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
