//! Watch frames, encoded once for all watchers who see the same form.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hako_store::{Event, Revision};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::encoded::{decode_at, write_into, written};
use super::{messages, render};
use crate::http::{Encoding, Failure, Form, Outcome};
use crate::kinds::Served;
use crate::protobuf;

/// Events whose frames are remembered; watchers further behind encode for themselves.
const REMEMBERED: usize = 256;

/// The frames of the newest events. An event's place is its revision's remainder, so that looking one up takes one
/// lock that only those contend for who are told the same event.
pub(crate) struct FrameCache(Box<[Mutex<Frames>]>);

/// What one event looks like on the wire, each form made when first wanted.
#[derive(Default)]
struct Frames {
    of: Revision,
    made: Vec<Made>,
}

/// One frame, and what it is of: a revision may be that of several objects.
struct Made {
    view: View,
    told: Told,
    key: Bytes,
    frame: Bytes,
}

/// How a watcher sees objects.
#[derive(Clone)]
pub(super) struct View {
    pub row: Arc<Served>,
    pub form: Form,
    pub encoding: Encoding,
    /// Of a table: whether the columns are told too, as they are once.
    pub with_columns: bool,
}

/// What a watcher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Added,
    Modified,
    Deleted,
}

impl Told {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

impl Default for FrameCache {
    fn default() -> Self {
        Self((0..REMEMBERED).map(|_| Mutex::default()).collect())
    }
}

impl fmt::Debug for FrameCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameCache").finish_non_exhaustive()
    }
}

impl FrameCache {
    /// The frame for telling an event, shared with all who are told the same.
    pub(super) fn frame(&self, view: &View, told: Told, event: &Event) -> Bytes {
        let revision = event.revision();
        let make = || view.frame(told, object_of(told, event), revision);
        let place = usize::try_from(revision.0 % REMEMBERED as u64).unwrap_or_default();
        let mut frames = self.0[place].lock();
        if frames.of > revision {
            return make();
        }
        if frames.of < revision {
            *frames = Frames { of: revision, made: Vec::new() };
        }
        let is_it = |made: &&Made| made.told == told && made.view.is(view) && made.key == event.entry.key;
        if let Some(made) = frames.made.iter().find(is_it) {
            return made.frame.clone();
        }
        let frame = make();
        frames.made.push(Made {
            view: view.clone(),
            told,
            key: event.entry.key.clone(),
            frame: frame.clone(),
        });
        frame
    }
}

impl View {
    fn is(&self, other: &Self) -> bool {
        let how = |view: &Self| (view.form, view.encoding, view.with_columns);
        self.row.is_same(&other.row) && how(self) == how(other)
    }

    /// One event of a watch.
    pub(super) fn frame(&self, told: Told, stored: &[u8], revision: Revision) -> Bytes {
        if self.encoding == Encoding::Protobuf {
            let message = self.message(stored, revision);
            return message.map_or_else(
                |failure| failed(self.encoding, &failure),
                |object| protobuf::frame(told.name(), &object).into(),
            );
        }
        if self.form == Form::Object {
            let mut out = Vec::with_capacity(stored.len() + 96);
            out.extend_from_slice(b"{\"type\":\"");
            out.extend_from_slice(told.name().as_bytes());
            out.extend_from_slice(b"\",\"object\":");
            write_into(&mut out, &self.row, stored, revision);
            out.extend_from_slice(b"}\n");
            return Bytes::from(out);
        }
        let Ok(object) = decode_at(&self.row, stored, revision) else { return Bytes::new() };
        line(Encoding::Json, told.name(), &self.shaped(object, revision))
    }

    fn message(&self, stored: &[u8], revision: Revision) -> Outcome<Vec<u8>> {
        let typed = messages::typed(&self.row, self.form)?;
        Ok(typed.object(&written(&self.row, stored, revision)).map_err(hako_error::Error::from)?)
    }

    fn shaped(&self, object: Value, revision: Revision) -> Value {
        match self.form {
            Form::Table(rows) => {
                let metadata = json!({"resourceVersion": revision.0.to_string()});
                render::table(&self.row, rows, &[object], metadata, self.with_columns)
            }
            Form::Metadata(version) => render::partial(&object, version),
            Form::Object => object,
        }
    }
}

/// What leaves is shown as it last was, all else as it is.
fn object_of(told: Told, event: &Event) -> &[u8] {
    match (told, &event.previous) {
        (Told::Deleted, Some(previous)) => &previous.value,
        _ => &event.entry.value,
    }
}

/// A failure as an event of a watch.
pub(super) fn failed(encoding: Encoding, failure: &Failure) -> Bytes {
    line(encoding, "ERROR", &serde_json::to_value(failure.status()).unwrap_or(Value::Null))
}

/// Anything as an event of a watch.
pub(super) fn line(encoding: Encoding, told: &str, object: &Value) -> Bytes {
    let message = match encoding {
        Encoding::Json | Encoding::Yaml => None,
        Encoding::Protobuf => protobuf::converted(object.to_string().as_bytes()).ok().flatten(),
    };
    if let Some(object) = message {
        return protobuf::frame(told, &object).into();
    }
    Bytes::from(format!("{{\"type\":\"{told}\",\"object\":{object}}}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Meta, RowObject, Rows};
    use crate::kinds;
    use hako_store::{Entry, EventKind};

    fn event(revision: u64) -> Event {
        let value = br#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"type":"Opaque"}"#;
        let at = Revision(revision);
        let entry = Entry {
            key: "a".into(),
            value: Bytes::from_static(value),
            created: at,
            modified: at,
            lease: None,
        };
        Event { kind: EventKind::Put, entry: Arc::new(entry), previous: None }
    }

    #[test]
    fn watchers_of_one_form_share_a_frame_and_those_of_another_have_their_own() {
        let cache = FrameCache::default();
        let row = kinds::by_kind("", "v1", "Secret").unwrap();
        let table = |object: RowObject, version: Meta| Form::Table(Rows { object, version });
        let forms = [
            Form::Object,
            Form::Metadata(Meta::V1),
            Form::Metadata(Meta::V1Beta1),
            table(RowObject::None, Meta::V1),
            table(RowObject::Object, Meta::V1),
            table(RowObject::Object, Meta::V1Beta1),
        ];
        let mut seen = Vec::new();
        for form in forms {
            let (json, protobuf) = (Encoding::Json, Encoding::Protobuf);
            for (encoding, with_columns) in [(json, false), (json, true), (protobuf, false)] {
                let view = View { row: Arc::clone(row), form, encoding, with_columns };
                let first = cache.frame(&view, Told::Added, &event(7));
                assert_eq!(cache.frame(&view, Told::Added, &event(7)).as_ptr(), first.as_ptr());
                assert!(!seen.contains(&first.as_ptr()));
                seen.push(first.as_ptr());
            }
        }
    }

    #[test]
    fn who_is_far_behind_is_told_right_and_takes_nothing_from_others() {
        let cache = FrameCache::default();
        let row = kinds::by_kind("", "v1", "Secret").unwrap();
        let view =
            View { row: Arc::clone(row), form: Form::Object, encoding: Encoding::Json, with_columns: false };
        let newer = 7 + REMEMBERED as u64;
        let kept = cache.frame(&view, Told::Added, &event(newer));
        let late = cache.frame(&view, Told::Added, &event(7));
        assert!(std::str::from_utf8(&late).unwrap().contains(r#""resourceVersion":"7""#));
        assert_eq!(cache.frame(&view, Told::Added, &event(newer)).as_ptr(), kept.as_ptr());
    }

    #[test]
    fn objects_of_one_revision_have_frames_of_their_own() {
        let (cache, mut other) = (FrameCache::default(), event(7));
        let value = Bytes::from_static(br#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"b"}}"#);
        other.entry = Arc::new(Entry { key: "b".into(), value, ..(*other.entry).clone() });
        let row = kinds::by_kind("", "v1", "Secret").unwrap();
        let view =
            View { row: Arc::clone(row), form: Form::Object, encoding: Encoding::Json, with_columns: false };
        for (event, name) in [(event(7), "a"), (other, "b")] {
            let frame = cache.frame(&view, Told::Added, &event);
            let expected = format!(r#""name":"{name}""#);
            assert!(std::str::from_utf8(&frame).unwrap().contains(&expected), "{frame:?}");
        }
    }
}
