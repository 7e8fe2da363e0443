//! Watch frames, encoded once for all watchers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hako_store::{Event, Revision};
use parking_lot::Mutex;

use super::encoded::write_into;
use crate::kinds::KindRow;

/// Events whose frames are remembered; watchers further behind encode for themselves.
const REMEMBERED: usize = 256;

/// The frames of the newest events, by revision.
#[derive(Debug, Default)]
pub(crate) struct FrameCache(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    by_revision: HashMap<Revision, Arc<Frames>>,
    order: VecDeque<Revision>,
}

/// What one event looks like on the wire, each form made when first wanted.
#[derive(Debug, Default)]
pub(super) struct Frames {
    added: OnceLock<Bytes>,
    modified: OnceLock<Bytes>,
    deleted: OnceLock<Bytes>,
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

impl FrameCache {
    /// The frame for telling an event, shared with all who are told the same.
    pub(super) fn frame(&self, row: &KindRow, told: Told, event: &Event) -> Bytes {
        if row.stored.is_some() {
            // Remembered frames are of the form kept.
            return frame(row, told, object_of(told, event), event.revision());
        }
        let frames = self.frames(event.revision());
        let cell = match told {
            Told::Added => &frames.added,
            Told::Modified => &frames.modified,
            Told::Deleted => &frames.deleted,
        };
        cell.get_or_init(|| frame(row, told, object_of(told, event), event.revision())).clone()
    }

    fn frames(&self, revision: Revision) -> Arc<Frames> {
        let mut remembered = self.0.lock();
        if let Some(frames) = remembered.by_revision.get(&revision) {
            return Arc::clone(frames);
        }
        let frames = Arc::new(Frames::default());
        if remembered.order.len() == REMEMBERED
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.by_revision.remove(&oldest);
        }
        remembered.order.push_back(revision);
        remembered.by_revision.insert(revision, Arc::clone(&frames));
        frames
    }
}

/// What leaves is shown as it last was, all else as it is.
pub(super) fn object_of(told: Told, event: &Event) -> &[u8] {
    match (told, &event.previous) {
        (Told::Deleted, Some(previous)) => &previous.value,
        _ => &event.entry.value,
    }
}

/// One line of a watch.
pub(super) fn frame(row: &KindRow, told: Told, stored: &[u8], revision: Revision) -> Bytes {
    let mut out = Vec::with_capacity(stored.len() + 96);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(told.name().as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    write_into(&mut out, row, stored, revision);
    out.extend_from_slice(b"}\n");
    Bytes::from(out)
}
