//! Texts of objects that were listed before and are as they were.
//!
//! The store says of a piece of a collection whether it is as it was ([`SectionId`]). Its text is kept when it is made for
//! the second time: who lists once, as informers do, leaves nothing behind, and what changes between any two lists is never
//! kept.
//!
//! INVARIANT: a text is shown only for the entries and the kind it was made of. All together take at most [`MOST_BYTES`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use hako_store::SectionId;
use parking_lot::Mutex;

use crate::kinds::Served;

/// What all texts may take.
const MOST_BYTES: usize = 24 << 20;
/// What is remembered of a section without a text.
const NOTE_BYTES: usize = 160;

/// What was listed before.
#[derive(Debug, Default)]
pub(crate) struct Texts(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    texts: HashMap<SectionId, Text>,
    /// The oldest first.
    order: VecDeque<SectionId>,
    bytes: usize,
}

#[derive(Debug)]
struct Text {
    /// Of which kind, as it was then: where that is gone, no other one takes its address while this is here.
    row: Weak<Served>,
    /// None yet where it was made once.
    text: Option<Bytes>,
    /// Whether it was of use since it was last looked for what can go.
    is_used: bool,
}

/// What is known of a section.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was not listed before, as far as is remembered.
    New,
    /// It was listed before.
    Seen,
    Text(Bytes),
}

impl Text {
    fn bytes(&self) -> usize {
        NOTE_BYTES + self.text.as_ref().map_or(0, Bytes::len)
    }
}

impl Texts {
    /// What is known of a section in the form of a kind; from now on it is seen.
    pub(super) fn look(&self, id: SectionId, row: &Arc<Served>) -> Known {
        let mut kept = self.0.lock();
        let Some(text) = kept.texts.get_mut(&id) else {
            kept.texts.insert(id, Text { row: Arc::downgrade(row), text: None, is_used: false });
            kept.order.push_back(id);
            kept.bytes += NOTE_BYTES;
            kept.make_room(id);
            return Known::New;
        };
        if text.row.as_ptr() != Arc::as_ptr(row) {
            text.row = Arc::downgrade(row);
            let gone = text.text.take();
            kept.bytes -= gone.map_or(0, |text| text.len());
            return Known::New;
        }
        text.is_used = text.text.is_some();
        text.text.clone().map_or(Known::Seen, Known::Text)
    }

    /// Keeps the text of a section that is seen, if there is room, or something that was of no use lately.
    pub(super) fn keep(&self, id: SectionId, row: &Arc<Served>, made: Bytes) {
        let mut kept = self.0.lock();
        let Some(text) = kept.texts.get_mut(&id) else { return };
        if text.row.as_ptr() != Arc::as_ptr(row) || text.text.is_some() {
            return;
        }
        let added = made.len();
        text.text = Some(made);
        kept.bytes += added;
        kept.make_room(id);
    }
}

impl Kept {
    /// Lets go of the oldest where something new is too much. What was of use since it was last here stays for now, and
    /// what is new goes instead: lists that are longer than all that is kept would else find nothing of themselves.
    fn make_room(&mut self, new: SectionId) {
        while self.bytes > MOST_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            match self.texts.get_mut(&oldest) {
                Some(text) if text.is_used && oldest != new => {
                    text.is_used = false;
                    self.take_back(new);
                    self.order.push_back(oldest);
                    return;
                }
                _ => self.bytes -= self.texts.remove(&oldest).map_or(0, |text| text.bytes()),
            }
        }
    }

    fn take_back(&mut self, new: SectionId) {
        let Some(text) = self.texts.get_mut(&new) else { return };
        if let Some(text) = text.text.take() {
            self.bytes -= text.len();
            return;
        }
        // It came last.
        self.order.pop_back();
        self.texts.remove(&new);
        self.bytes -= NOTE_BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use hako_store::{Embedded, Expect, Op, Store as _, Write};

    /// Ids of as many sections.
    async fn ids(count: usize) -> Vec<SectionId> {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(directory.path()).unwrap();
        let mut ids = Vec::new();
        while ids.len() < count {
            let op = Op::Put { value: Bytes::new(), lease: None };
            let (expect, guards, along) = (Expect::Any, Vec::new(), Vec::new());
            store.write(Write { key: "a".into(), expect, op, guards, along }).await.unwrap();
            ids.push(store.sections(b"").await.unwrap().unwrap().sections[0].id());
        }
        store.close().await;
        ids
    }

    fn rows() -> [Arc<Served>; 2] {
        ["ConfigMap", "Pod"].map(|kind| Arc::clone(kinds::by_kind("", "v1", kind).unwrap()))
    }

    #[tokio::test]
    async fn a_text_is_of_its_entries_and_its_kind() {
        let (ids, [maps, pods], texts) = (ids(2).await, rows(), Texts::default());
        assert_eq!(texts.look(ids[0], &maps), Known::New);
        assert_eq!(texts.look(ids[0], &maps), Known::Seen);
        texts.keep(ids[0], &maps, Bytes::from_static(b"maps"));
        assert_eq!(texts.look(ids[0], &maps), Known::Text(Bytes::from_static(b"maps")));
        assert_eq!(texts.look(ids[1], &maps), Known::New);
        assert_eq!(texts.look(ids[0], &pods), Known::New);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_what_is_of_use_stays() {
        let (count, text) = (64, Bytes::from(vec![b'x'; MOST_BYTES / 16]));
        let (ids, [maps, _], texts) = (ids(count).await, rows(), Texts::default());
        let list = |ids: &[SectionId]| {
            let is_kept = |id: &&SectionId| match texts.look(**id, &maps) {
                Known::New => false,
                Known::Seen => {
                    texts.keep(**id, &maps, text.clone());
                    false
                }
                Known::Text(_) => true,
            };
            let found = ids.iter().filter(is_kept).count();
            let kept = texts.0.lock();
            let bytes: usize = kept.texts.values().map(Text::bytes).sum();
            assert!(kept.bytes == bytes && bytes <= MOST_BYTES, "{} {bytes}", kept.bytes);
            assert_eq!(kept.order.len(), kept.texts.len());
            found
        };
        let (useful, others) = ids.split_at(8);
        let found = [list(useful), list(useful), list(useful)];
        assert_eq!(found, [0, 0, 8]);
        // More than there is room for, again and again, beside what is asked for as often.
        for _ in 0..8 {
            list(others);
            assert_eq!(list(useful), 8);
        }
        // What nobody asks for any more makes room.
        let last = &others[..12];
        assert!((0..8).any(|_| list(last) == last.len()));
    }
}
