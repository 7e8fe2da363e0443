//! The table of contents: JSON, compressed, in a skippable frame at the blob's end.

use crate::ImageError;
use crate::layer::{ApplyError, Entry as LayerEntry, EntryKind, Permits, clean};
use hako_error::Result;
use hako_names::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;

/// The digest of the compressed table.
pub const CHECKSUM_ANNOTATION: &str = "io.github.containers.zstd-chunked.manifest-checksum";
/// `OFFSET:LENGTH:UNCOMPRESSED LENGTH:TYPE`, the type being 1.
pub const POSITION_ANNOTATION: &str = "io.github.containers.zstd-chunked.manifest-position";

/// The kind of table that there is.
pub(super) const TABLE_TYPE: u64 = 1;
/// RFC 8878, section 3.1.2.
pub(super) const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
pub(super) const FOOTER_MAGIC: &[u8; 8] = b"GNUlInUx";
/// A table may have so many bytes, compressed or not.
const TABLE_LIMIT: u64 = 64 << 20;

/// One file, or one more chunk of the file before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) link_name: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) mode: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) uid: u64,
    #[serde(default)]
    pub(crate) gid: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) modtime: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) dev_major: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) dev_minor: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) xattrs: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) offset: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) end_offset: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) chunk_size: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) chunk_offset: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chunk_digest: Option<Digest>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// All files of a layer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) version: u32,
    pub(crate) entries: Vec<Entry>,
}

/// Where a blob has its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) plain_length: u64,
    pub(crate) checksum: Digest,
}

impl Position {
    /// What a layer's annotations say; `None` if it has no table, or none that we read.
    pub(crate) fn of(annotations: &BTreeMap<String, String>, size: u64) -> Option<Self> {
        let checksum = annotations.get(CHECKSUM_ANNOTATION)?.parse().ok()?;
        let mut numbers = annotations.get(POSITION_ANNOTATION)?.split(':').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (offset, length, plain_length, kind) = (next()?, next()?, next()?, next()?);
        let is_inside = offset.checked_add(length).is_some_and(|end| end <= size);
        let is_small = length <= TABLE_LIMIT && plain_length <= TABLE_LIMIT;
        (kind == TABLE_TYPE && is_inside && is_small).then_some(Self {
            offset,
            length,
            plain_length,
            checksum,
        })
    }
}

impl Table {
    /// Reads a compressed table; its digest and every offset in it are checked.
    pub(crate) fn parse(compressed: &[u8], position: Position) -> Result<Self> {
        let damaged = |reason: &str| ImageError::Unusable {
            what: "a layer's table of chunks".into(),
            reason: reason.to_owned(),
        };
        if Digest::of(compressed) != position.checksum {
            return Err(damaged("its digest is another than its annotation says").into());
        }
        let mut plain = Vec::new();
        let decoder = zstd::Decoder::new(compressed).map_err(|_| damaged("it is no zstd"))?;
        decoder
            .take(position.plain_length + 1)
            .read_to_end(&mut plain)
            .map_err(|_| damaged("it is no zstd"))?;
        if plain.len() as u64 != position.plain_length {
            return Err(damaged("it unpacks to another length than its annotation says").into());
        }
        let table: Self =
            serde_json::from_slice(&plain).map_err(|_| damaged("it is no table that we know"))?;
        let mut end = 0;
        for entry in table.entries.iter().filter(|entry| entry.end_offset > 0) {
            if entry.offset < end || entry.end_offset < entry.offset || entry.end_offset > position.offset {
                return Err(damaged("its offsets do not ascend").into());
            }
            // A file of several chunks tells where its last one ends.
            end = entry.offset;
        }
        Ok(table)
    }

    /// Refuses a table with entries that no layer may have. They place nothing here, for files come from the layer
    /// itself; but elsewhere they do.
    pub(crate) fn check(&self, layer: &str, permits: Permits) -> Result<(), ApplyError> {
        for row in self.entries.iter().filter(|row| row.kind != "chunk") {
            let entry = row.entry();
            let outside = |path: &[u8]| clean(path).err().map(str::to_owned);
            let target = match &entry.kind {
                EntryKind::HardLink(target) => outside(target),
                _ => None,
            };
            let reason = permits.refuse(&entry).or_else(|| outside(&entry.path)).or(target);
            if let Some(reason) = reason {
                let reason = format!("{reason} (in the layer's table of chunks)").into();
                return Err(ApplyError::Hostile { layer: layer.to_owned(), entry: entry.shown(), reason });
            }
        }
        Ok(())
    }
}

impl Entry {
    /// What of it decides where it goes.
    fn entry(&self) -> LayerEntry {
        let (name, link) = (self.name.clone().into_bytes(), self.link_name.clone().into_bytes());
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let (major, minor) = (number(self.dev_major), number(self.dev_minor));
        let kind = match self.kind.as_str() {
            "dir" => EntryKind::Directory,
            "symlink" => EntryKind::Symlink(link),
            "hardlink" => EntryKind::HardLink(link),
            "char" => EntryKind::Character { major, minor },
            "block" => EntryKind::Block { major, minor },
            "fifo" => EntryKind::Fifo,
            _ => EntryKind::File,
        };
        LayerEntry::bare(name, kind)
    }
}

/// A skippable frame around `bytes`.
pub(super) fn skippable(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&SKIPPABLE_MAGIC.to_le_bytes()[..], &length.to_le_bytes(), bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, name: &str, link: &str) -> Entry {
        Entry { kind: kind.into(), name: name.into(), link_name: link.into(), ..Entry::default() }
    }

    #[test]
    fn a_table_with_entries_that_no_layer_may_have_is_refused_by_name() {
        let device = |kind: &str| Entry { dev_major: 1, dev_minor: 3, ..row(kind, "dev/x", "") };
        for hostile in [
            row("reg", "/etc/passwd", ""),
            row("reg", "../x", ""),
            row("hardlink", "x", "/etc/shadow"),
            row("hardlink", "x", "../shadow"),
            device("block"),
        ] {
            let table = Table { version: 1, entries: vec![row("dir", "./", ""), hostile.clone()] };
            let said = table.check("layer x", Permits::LAYER).unwrap_err().to_string();
            let parts = ["layer x", hostile.name.as_str(), "table of chunks"];
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
        let entries = vec![device("char"), row("symlink", "lib", "/usr/lib"), row("chunk", "/x", "")];
        Table { version: 1, entries }.check("layer x", Permits::LAYER).unwrap();
    }
}
