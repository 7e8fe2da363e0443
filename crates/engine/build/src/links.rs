//! Files that have several names: hard links stay hard links in what is copied.

use hako_image::layer::{Entry, EntryKind};
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// What tells a file from all others, whatever its name.
type Inode = (u64, u64);

fn inode(metadata: &Metadata) -> Option<Inode> {
    (metadata.nlink() > 1 && !metadata.is_dir()).then(|| (metadata.dev(), metadata.ino()))
}

/// The names that one copy has written so far.
#[derive(Debug, Default)]
pub(crate) struct Links(HashMap<Inode, Vec<u8>>);

impl Links {
    /// Makes the entry a hard link if its file has been written under another name.
    pub(crate) fn settle(&mut self, entry: &mut Entry, metadata: &Metadata) {
        let Some(inode) = inode(metadata) else { return };
        let Some(first) = self.0.get(&inode) else {
            self.0.insert(inode, entry.path.clone());
            return;
        };
        entry.kind = EntryKind::HardLink(first.clone());
        entry.size = 0;
        entry.xattrs.clear();
    }
}

/// The same for digests: files by their number, as they have no place yet.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    numbers: HashMap<Inode, usize>,
    count: usize,
}

impl Seen {
    /// Counts a file; gives the number that it had under another name.
    pub(crate) fn before(&mut self, metadata: &Metadata) -> Option<usize> {
        self.count += 1;
        let inode = inode(metadata)?;
        let known = self.numbers.get(&inode).copied();
        self.numbers.entry(inode).or_insert(self.count);
        known
    }
}
