//! Which bytes of a new layer are in blobs that are here.

use super::table::{Entry, Table};
use hako_names::{Digest, Hasher};
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

/// Ranges to fetch that are closer than this are fetched as one: a request costs more.
const NEAR: u64 = 8 << 10;

/// What the bytes of a part are, as far as the table tells: equal keys most probably mean equal bytes. The blob's
/// digest tells at the end.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    content: Digest,
    length: u64,
}

/// The parts of blobs that are here.
#[derive(Default)]
pub(crate) struct Index {
    blobs: Vec<PathBuf>,
    parts: HashMap<Key, (usize, u64)>,
}

/// A part of the new layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It is in this file.
    Here { path: PathBuf, range: Range<u64> },
    /// It has to be fetched.
    There(Range<u64>),
}

impl Part {
    /// How many bytes of it are here.
    pub(crate) fn here(&self) -> u64 {
        match self {
            Self::Here { range, .. } => range.end - range.start,
            Self::There(_) => 0,
        }
    }
}

impl Index {
    /// Whether there is nothing to be found.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Adds a blob with its table; `end` is where its tar ends and the table's frame begins.
    pub(crate) fn add(&mut self, path: PathBuf, table: &Table, end: u64) {
        let blob = self.blobs.len();
        self.blobs.push(path);
        for (range, key) in segments(table, end) {
            if let Some(key) = key {
                self.parts.entry(key).or_insert((blob, range.start));
            }
        }
    }
}

/// The new layer from its start to `end`, as parts in order.
pub(crate) fn plan(index: &Index, table: &Table, end: u64) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (range, key) in segments(table, end) {
        let length = range.end - range.start;
        match (key.and_then(|key| index.parts.get(&key)), parts.last_mut()) {
            (None, Some(Part::There(before))) => before.end = range.end,
            (None, _) => parts.push(Part::There(range)),
            (Some((blob, at)), last) => {
                let path = &index.blobs[*blob];
                match last {
                    Some(Part::Here { path: before, range }) if before == path && range.end == *at => {
                        range.end += length;
                    }
                    _ => parts.push(Part::Here { path: path.clone(), range: *at..at + length }),
                }
            }
        }
    }
    join_near(parts)
}

/// Fetches what is here too, where that saves a request.
fn join_near(parts: Vec<Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        let Part::There(range) = &part else {
            joined.push(part);
            continue;
        };
        let is_near = match joined.as_slice() {
            [.., Part::There(_), Part::Here { range: here, .. }] => here.end - here.start < NEAR,
            _ => false,
        };
        if is_near {
            joined.pop();
            if let Some(Part::There(before)) = joined.last_mut() {
                before.end = range.end;
            }
        } else {
            joined.push(part);
        }
    }
    joined
}

/// Every byte from 0 to `end`: the chunks by their digests, and what is between two chunks by all that the table
/// says of the entries there. What is behind the last one has no key: how many zeros end the archive no table says, and
/// different numbers of them compress to the same length.
fn segments(table: &Table, end: u64) -> Vec<(Range<u64>, Option<Key>)> {
    let (mut segments, mut at, mut between) = (Vec::new(), 0, Hasher::new());
    let mut file_size = 0;
    for (number, entry) in table.entries.iter().enumerate() {
        describe(&mut between, entry);
        if entry.kind != "chunk" {
            file_size = entry.size;
        }
        if entry.end_offset == 0 {
            continue;
        }
        let digest = entry.chunk_digest.or(entry.digest);
        // A file of several chunks gives its own end; its first chunk ends where the second begins.
        let next = table.entries.get(number + 1).filter(|next| next.kind == "chunk");
        let chunk_end = next.map_or(entry.end_offset, |next| next.offset);
        if entry.offset < at || chunk_end < entry.offset || chunk_end > end {
            break;
        }
        let content = std::mem::replace(&mut between, Hasher::new()).finish();
        // The padding of this file comes before the next header.
        between.update(&(file_size % 512).to_le_bytes());
        if entry.offset > at {
            segments.push((at..entry.offset, Some(Key { content, length: entry.offset - at })));
        }
        if let Some(content) = digest.filter(|_| chunk_end > entry.offset) {
            segments.push((entry.offset..chunk_end, Some(Key { content, length: chunk_end - entry.offset })));
            at = chunk_end;
        } else {
            at = entry.offset;
        }
    }
    if end > at {
        segments.push((at..end, None));
    }
    segments
}

/// All that decides the bytes of an entry's header.
fn describe(hasher: &mut Hasher, entry: &Entry) {
    let plain = Entry {
        digest: None,
        chunk_digest: None,
        offset: 0,
        end_offset: 0,
        chunk_size: 0,
        chunk_offset: 0,
        ..entry.clone()
    };
    hasher.update(&serde_json::to_vec(&plain).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, content: &str, range: Range<u64>) -> Entry {
        Entry {
            kind: "reg".into(),
            name: name.into(),
            size: 10,
            digest: Some(Digest::of(content.as_bytes())),
            offset: range.start,
            end_offset: range.end,
            ..Entry::default()
        }
    }

    fn table(contents: [&str; 3]) -> Table {
        let [a, b, c] = contents;
        let entries = vec![
            entry("a", a, 10..100_010),
            entry("b", b, 100_020..200_020),
            entry("c", c, 200_030..300_030),
        ];
        Table { version: 1, entries }
    }

    #[test]
    fn only_what_changed_is_fetched() {
        let mut index = Index::default();
        index.add("old".into(), &table(["1", "2", "3"]), 300_040);
        let here = |range| Part::Here { path: "old".into(), range };
        let end = Part::There(300_030..300_040);
        assert_eq!(plan(&index, &table(["1", "2", "3"]), 300_040), [here(0..300_030), end.clone()]);
        assert_eq!(
            plan(&index, &table(["1", "x", "3"]), 300_040),
            [here(0..100_020), Part::There(100_020..200_020), here(200_020..300_030), end]
        );
        assert_eq!(plan(&Index::default(), &table(["1", "2", "3"]), 300_040), [Part::There(0..300_040)]);
    }

    #[test]
    fn a_small_gap_is_fetched_with_its_neighbours() {
        let mut index = Index::default();
        index.add("old".into(), &table(["1", "2", "3"]), 300_040);
        let parts = plan(&index, &table(["x", "y", "3"]), 300_040);
        assert_eq!(parts[1], Part::There(10..200_020));
    }

    #[test]
    fn tables_that_lie_about_order_end_where_they_lie() {
        let mut lying = table(["1", "2", "3"]);
        lying.entries[1].offset = 5;
        assert_eq!(plan(&Index::default(), &lying, 300_040), [Part::There(0..300_040)]);
    }
}
