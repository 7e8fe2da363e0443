//! A list's body, item by item: what is sent is made of the stored bytes when it is sent.

use std::sync::Arc;

use hako_store::Entry;
use jiff::Timestamp;
use serde_json::json;

use super::encoded::{decode_at, write_shared};
use super::messages;
use super::render::{self, ListHead};
use super::target::Target;
use crate::http::{Accept, Encoding, Form, Outcome, Piece, Pieces, json_pieces};
use crate::kinds::Served;

/// Entries of a list that are still to be sent. Those that were are let go of.
struct Items {
    row: Arc<Served>,
    form: Form,
    /// One time for the ages in all rows.
    now: Timestamp,
    entries: std::vec::IntoIter<Arc<Entry>>,
    stage: Stage,
}

/// How far a list has come.
enum Stage {
    /// All before the first item.
    Head(String),
    First,
    Others,
    Ended,
}

/// A list in the form asked for.
pub(super) async fn list(
    target: &Target,
    accept: Accept,
    head: &ListHead,
    entries: Vec<Arc<Entry>>,
) -> Outcome {
    if accept.encoding == Encoding::Protobuf {
        return messages::list(&target.row, accept.form, head, entries).await;
    }
    let form = accept.form;
    let (row, entries) = (Arc::clone(&target.row), entries.into_iter());
    let stage = Stage::Head(before_items(&row, form, head));
    json_pieces(Items { row, form, now: Timestamp::now(), entries, stage })
}

/// All of a list that stands before its items.
pub(super) fn before_items(row: &Served, form: Form, head: &ListHead) -> String {
    let metadata = head.metadata();
    match form {
        Form::Object => format!(
            r#"{{"kind":"{}","apiVersion":"{}","metadata":{metadata},"items":["#,
            row.list_kind,
            row.api_version()
        ),
        Form::Metadata(version) => format!(
            r#"{{"kind":"PartialObjectMetadataList","apiVersion":"{}","metadata":{metadata},"items":["#,
            version.api_version()
        ),
        Form::Table(rows) => format!(
            r#"{{"kind":"Table","apiVersion":"{}","metadata":{metadata},"columnDefinitions":{},"rows":["#,
            rows.version.api_version(),
            json!(render::columns(row))
        ),
    }
}

impl Items {
    fn item(&self, entry: &Entry, out: &mut Vec<u8>) -> Outcome<Piece> {
        let value = match self.form {
            Form::Object => {
                let rest = write_shared(out, &self.row, &entry.value, entry.modified);
                return Ok(rest.map_or(Piece::Written, Piece::Shared));
            }
            Form::Metadata(version) => {
                render::partial(&decode_at(&self.row, &entry.value, entry.modified)?, version)
            }
            Form::Table(rows) => {
                let object = decode_at(&self.row, &entry.value, entry.modified)?;
                render::table_row(&self.row, rows, object, self.now)
            }
        };
        // INVARIANT: writing a `Value` to a `Vec` cannot fail.
        let _ = serde_json::to_writer(out, &value);
        Ok(Piece::Written)
    }
}

impl Pieces for Items {
    fn next(&mut self, out: &mut Vec<u8>) -> Outcome<Piece> {
        match std::mem::replace(&mut self.stage, Stage::Others) {
            Stage::Head(text) => {
                out.extend_from_slice(text.as_bytes());
                self.stage = Stage::First;
                return Ok(Piece::Written);
            }
            Stage::Ended => {
                self.stage = Stage::Ended;
                return Ok(Piece::End);
            }
            Stage::First => {}
            Stage::Others if self.entries.len() > 0 => out.push(b','),
            Stage::Others => {}
        }
        let Some(entry) = self.entries.next() else {
            out.extend_from_slice(b"]}");
            self.stage = Stage::Ended;
            return Ok(Piece::Written);
        };
        self.item(&entry, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Meta, RowObject, Rows};
    use crate::kinds;
    use crate::resource::encode_stored;
    use bytes::Bytes;
    use hako_store::Revision;
    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    use serde_json::Value;

    fn entries(count: u64, bytes: usize) -> Vec<Arc<Entry>> {
        let row = kinds::by_kind("", "v1", "ConfigMap").unwrap();
        let entry = |at: u64| {
            let mut object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{at}")},
                "data": {"text": "x".repeat(bytes)},
            });
            Arc::new(Entry {
                key: Bytes::from(format!("c{at}")),
                value: encode_stored(row, &mut object).unwrap(),
                created: Revision(at),
                modified: Revision(at),
                lease: None,
            })
        };
        (1..=count).map(entry).collect()
    }

    async fn answer(form: Form, entries: Vec<Arc<Entry>>) -> crate::http::Answer {
        let accept = Accept { form, encoding: Encoding::Json, is_discovery: false };
        let row = kinds::by_kind("", "v1", "ConfigMap").unwrap();
        let target = Target { row: Arc::clone(row), namespace: String::new(), name: String::new() };
        let head = ListHead { revision: Revision(9), continue_token: None, remaining: None };
        list(&target, accept, &head, entries).await.unwrap()
    }

    async fn value(form: Form, entries: Vec<Arc<Entry>>) -> Value {
        let body = answer(form, entries).await.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn lists_of_every_form_and_length_are_whole() {
        for count in [0, 1, 2, 3000] {
            let objects = value(Form::Object, entries(count, 100)).await;
            assert_eq!(
                (&objects["kind"], &objects["metadata"]),
                (&json!("ConfigMapList"), &json!({"resourceVersion": "9"}))
            );
            let partial = value(Form::Metadata(Meta::V1), entries(count, 100)).await;
            assert_eq!(partial["kind"], "PartialObjectMetadataList");
            let rows = Rows { object: RowObject::Object, version: Meta::V1 };
            let table = value(Form::Table(rows), entries(count, 100)).await;
            assert_eq!(table["columnDefinitions"][0]["name"], "Name");
            for (list, field) in [(&objects, "items"), (&partial, "items"), (&table, "rows")] {
                assert_eq!(list[field].as_array().unwrap().len() as u64, count);
            }
            if let Some(last) = count.checked_sub(1) {
                let last = usize::try_from(last).unwrap();
                let meta = json!({"resourceVersion": count.to_string(), "name": format!("c{count}")});
                assert_eq!(objects["items"][last]["metadata"], meta);
                assert_eq!(partial["items"][last]["metadata"], meta);
                assert_eq!(table["rows"][last]["object"]["metadata"], meta);
            }
        }
    }

    #[tokio::test]
    async fn a_long_list_lets_go_of_what_it_has_sent() {
        let entries = entries(3000, 1000);
        let first = Arc::downgrade(&entries[0]);
        let last = Arc::downgrade(&entries[2999]);
        let mut body = answer(Form::Object, entries).await.into_body();
        assert!(body.size_hint().lower() > 128 << 10 && body.size_hint().upper().is_none());
        body.frame().await.unwrap().unwrap();
        assert!(first.upgrade().is_none() && last.upgrade().is_some());
    }

    #[tokio::test]
    async fn a_large_object_in_a_list_is_sent_from_the_stored_bytes() {
        let entries = entries(1, 1_000_000);
        let stored = entries[0].value.as_ptr_range();
        let mut body = answer(Form::Object, entries).await.into_body();
        let mut is_shared = false;
        while let Some(frame) = body.frame().await {
            is_shared |= stored.contains(&frame.unwrap().into_data().unwrap().as_ptr());
        }
        assert!(is_shared);
    }
}
