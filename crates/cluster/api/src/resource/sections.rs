//! The body of a list of a whole collection, section by section: of those that are as they were before, a text is there.

use std::sync::Arc;

use bytes::Bytes;
use hako_store::Section;

use super::encoded::{write_into, write_shared};
use super::items::before_items;
use super::render::ListHead;
use super::target::Target;
use super::texts::{Known, Texts};
use crate::http::{Form, Outcome, Piece, Pieces, SHARED_BYTES, json_pieces};
use crate::kinds::Served;

/// The longest text that is kept. Sections of larger objects are sent for the most part from where those are.
const TEXT_BYTES: usize = 256 << 10;
/// What an object has more when it is shown than when it is kept, mostly: its revision, a comma.
const MORE_BYTES: usize = 48;

/// Sections of a list that are still to be sent. Those that were are let go of.
struct Whole {
    row: Arc<Served>,
    texts: Arc<Texts>,
    sections: std::vec::IntoIter<Section>,
    /// The section that is being written, and how many of its entries are.
    current: Option<(Section, usize)>,
    stage: Stage,
    /// All before the first item.
    head: String,
}

/// How far a list has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    First,
    Others,
    Ended,
}

/// A list of objects in JSON.
pub(super) fn list(target: &Target, texts: &Arc<Texts>, head: &ListHead, sections: Vec<Section>) -> Outcome {
    let (row, texts, sections) = (Arc::clone(&target.row), Arc::clone(texts), sections.into_iter());
    let head = before_items(&row, Form::Object, head);
    json_pieces(Whole { row, texts, sections, current: None, stage: Stage::Head, head })
}

impl Whole {
    /// The next section's text, if it has or now gets one; else the section is the one to be written.
    fn next_text(&mut self) -> Option<Bytes> {
        let section = self.sections.next()?;
        let text = match self.texts.look(section.id(), &self.row) {
            Known::Text(text) => Some(text),
            Known::Seen => self.text_of(&section),
            Known::New => None,
        };
        match text {
            // All but the first follow others.
            Some(text) if self.stage == Stage::First => {
                self.stage = Stage::Others;
                Some(text.slice(1..))
            }
            Some(text) => Some(text),
            None => {
                self.current = Some((section, 0));
                None
            }
        }
    }

    /// Makes the text of a section for this list and those that follow, unless it is long.
    fn text_of(&self, section: &Section) -> Option<Bytes> {
        let size = |bytes: usize, value: usize| bytes + value + MORE_BYTES;
        let bytes = section.entries().iter().fold(0, |bytes, entry| size(bytes, entry.value.len()));
        if bytes > TEXT_BYTES {
            return None;
        }
        let mut text = Vec::with_capacity(bytes);
        for entry in section.entries() {
            text.push(b',');
            write_into(&mut text, &self.row, &entry.value, entry.modified);
        }
        text.shrink_to_fit();
        let text = Bytes::from(text);
        self.texts.keep(section.id(), &self.row, text.clone());
        Some(text)
    }

    /// Writes the next entry of the section that is being written.
    fn write_current(&mut self, out: &mut Vec<u8>) -> Option<Piece> {
        let (section, written) = self.current.as_mut()?;
        let entry = section.entries().get(*written)?;
        *written += 1;
        if std::mem::replace(&mut self.stage, Stage::Others) == Stage::Others {
            out.push(b',');
        }
        let rest = write_shared(out, &self.row, &entry.value, entry.modified);
        Some(rest.map_or(Piece::Written, Piece::Shared))
    }
}

impl Pieces for Whole {
    fn ready(&mut self) -> Option<Bytes> {
        let is_between =
            self.current.as_ref().is_none_or(|(section, written)| section.entries().len() == *written);
        if self.stage == Stage::Head || !is_between {
            return None;
        }
        self.current = None;
        self.next_text()
    }

    fn next(&mut self, out: &mut Vec<u8>) -> Outcome<Piece> {
        match self.stage {
            Stage::Head => {
                out.extend_from_slice(self.head.as_bytes());
                self.stage = Stage::First;
                return Ok(Piece::Written);
            }
            Stage::Ended => return Ok(Piece::End),
            Stage::First | Stage::Others => {}
        }
        if let Some(piece) = self.write_current(out) {
            return Ok(piece);
        }
        self.current = None;
        if let Some(text) = self.next_text() {
            if text.len() >= SHARED_BYTES {
                return Ok(Piece::Shared(text));
            }
            out.extend_from_slice(&text);
            return Ok(Piece::Written);
        }
        if let Some(piece) = self.write_current(out) {
            return Ok(piece);
        }
        out.extend_from_slice(b"]}");
        self.stage = Stage::Ended;
        Ok(Piece::Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Answer;
    use crate::kinds;
    use crate::resource::encode_stored;
    use futures::future::join_all;
    use hako_store::{Embedded, Expect, Op, Store as _, Write};
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};

    struct World {
        store: Embedded,
        target: Target,
        texts: Arc<Texts>,
        _directory: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let row = Arc::clone(kinds::by_kind("", "v1", "ConfigMap").unwrap());
            Self {
                store: Embedded::open(directory.path()).unwrap(),
                target: Target { row, namespace: String::new(), name: String::new() },
                texts: Arc::default(),
                _directory: directory,
            }
        }

        async fn put(&self, name: &str, text: &str) -> u64 {
            let mut object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text},
            });
            let value = encode_stored(&self.target.row, &mut object).unwrap();
            self.write(name, Op::Put { value, lease: None }).await
        }

        async fn write(&self, name: &str, op: Op) -> u64 {
            let key = Bytes::from(format!("/maps/{name}"));
            let write = Write { key, expect: Expect::Any, op, guards: Vec::new(), along: Vec::new() };
            self.store.write(write).await.unwrap().revision.0
        }

        async fn answer(&self) -> Answer {
            let sections = self.store.sections(b"/maps/").await.unwrap().unwrap();
            let head = ListHead { revision: sections.revision, continue_token: None, remaining: None };
            list(&self.target, &self.texts, &head, sections.sections).unwrap()
        }

        /// The names of all objects with their versions and texts.
        async fn listed(&self) -> Vec<(String, String, String)> {
            let body = self.answer().await.into_body().collect().await.unwrap().to_bytes();
            let list: Value = serde_json::from_slice(&body).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let all = list["items"].as_array().unwrap().iter().map(|item| {
                let meta = &item["metadata"];
                (text(&meta["name"]), text(&meta["resourceVersion"]), text(&item["data"]["text"]))
            });
            all.collect()
        }

        /// Where the frames of a list are.
        async fn frames(&self) -> Vec<*const u8> {
            let mut body = self.answer().await.into_body();
            let mut at = Vec::new();
            let mut frames = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.unwrap().into_data().unwrap();
                at.push(frame.as_ptr());
                // Held, so that no other one can take its place.
                frames.push(frame);
            }
            at
        }
    }

    #[tokio::test]
    async fn a_list_shows_every_write_before_it_however_often_it_was_asked_for() {
        let world = World::new();
        let mut expected = std::collections::BTreeMap::new();
        assert_eq!(world.listed().await, []);
        let puts = (0..700).map(async |at| {
            let name = format!("{at:03}");
            let version = world.put(&name, "first").await;
            (name, (version, "first"))
        });
        expected.extend(join_all(puts).await);
        for at in 0..40 {
            for _ in 0..3 {
                let listed = world.listed().await;
                let wanted = expected
                    .iter()
                    .map(|(name, (version, text))| (name.clone(), version.to_string(), (*text).to_owned()));
                assert!(listed.into_iter().eq(wanted), "after {at} writes");
            }
            let name = format!("{:03}", at * 191 % 700);
            if at % 4 == 3 {
                world.write(&name, Op::Delete).await;
                expected.remove(&name);
            } else {
                expected.insert(name.clone(), (world.put(&name, "again").await, "again"));
            }
        }
    }

    #[tokio::test]
    async fn what_is_as_it_was_is_sent_from_where_it_is_and_a_write_makes_only_its_own_section_anew() {
        let world = World::new();
        let text = "x".repeat(1000);
        join_all((0..1000).map(async |at| world.put(&format!("{at:03}"), &text).await)).await;
        let (first, second) = (world.frames().await, world.frames().await);
        let known = |frames: &[*const u8], before: &[*const u8]| {
            frames.iter().filter(|frame| before.contains(frame)).count()
        };
        assert!(first.len() < 10 && second.len() > 15, "{} {}", first.len(), second.len());
        let third = world.frames().await;
        // The head and the end are made each time.
        assert_eq!((third.len(), known(&third, &second)), (second.len(), second.len() - 2));
        world.put("500", "changed").await;
        let fourth = world.frames().await;
        assert!(
            known(&fourth, &second) >= second.len() - 4,
            "{} of {}",
            known(&fourth, &second),
            second.len()
        );
    }

    #[tokio::test]
    async fn a_list_in_the_making_shows_its_own_state_and_keeps_no_text_of_what_is_large() {
        let world = World::new();
        let text = "x".repeat(20_000);
        join_all((0..100).map(async |at| world.put(&format!("{at:02}"), &text).await)).await;
        for _ in 0..2 {
            world.listed().await;
        }
        let answer = world.answer().await;
        let stored = world.store.get(b"/maps/99").await.unwrap().entry.unwrap().value.as_ptr_range();
        world.put("99", "changed").await;
        let (mut body, mut sum, mut is_shared) = (answer.into_body(), 0, false);
        while let Some(frame) = body.frame().await {
            let frame = frame.unwrap().into_data().unwrap();
            (sum, is_shared) = (sum + frame.len(), is_shared || stored.contains(&frame.as_ptr()));
        }
        assert!(is_shared && sum > 2_000_000, "{sum}");
        assert_eq!(world.listed().await[99].2, "changed");
    }

    #[tokio::test]
    async fn texts_of_another_kind_are_not_shown() {
        let mut world = World::new();
        world.put("a", "text").await;
        for _ in 0..3 {
            world.listed().await;
        }
        // Of the same entries, in the form of a kind that is served in another version than it is kept in.
        world.target.row =
            Arc::clone(kinds::by_kind("autoscaling", "v1", "HorizontalPodAutoscaler").unwrap());
        let body = world.answer().await.into_body().collect().await.unwrap().to_bytes();
        let list: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(list["items"][0]["apiVersion"], "autoscaling/v1");
    }
}
