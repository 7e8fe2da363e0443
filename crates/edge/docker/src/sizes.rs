//! What images, containers and volumes take on disk.
//!
//! An image consists of pieces: its documents, its layers as stored and, where they are unpacked, as directories. A
//! piece that several images have is on disk once, so sums go over pieces, not over images.

use hako_image::{Collected, Image, ImageStore, chain_id};
use hako_snapshot::State;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Measured snapshots; a committed one never changes, so it is measured once.
#[derive(Debug, Default)]
pub(crate) struct Sizes(Mutex<HashMap<String, u64>>);

/// The pieces of some images with their bytes, and how many of the images have each.
#[derive(Debug, Default)]
pub(crate) struct Pieces(HashMap<String, (u64, usize)>);

impl Sizes {
    /// Bytes of a committed snapshot without its parents, 0 where it is not unpacked.
    fn snapshot(&self, images: &ImageStore, name: &str) -> u64 {
        let snapshots = images.snapshots();
        if !snapshots.stat(name).is_ok_and(|info| info.state == State::Committed) {
            self.0.lock().remove(name);
            return 0;
        }
        if let Some(bytes) = self.0.lock().get(name) {
            return *bytes;
        }
        let bytes = snapshots.usage(name).map_or(0, |usage| usage.bytes);
        self.0.lock().insert(name.to_owned(), bytes);
        bytes
    }

    /// Unpacked bytes of each layer, lowest first.
    pub(crate) fn unpacked(&self, images: &ImageStore, image: &Image) -> Vec<u64> {
        chains(image).iter().map(|chain| self.snapshot(images, chain)).collect()
    }

    fn pieces(&self, images: &ImageStore, image: &Image) -> Vec<(String, u64)> {
        let layers: u64 = image.layers.iter().map(|layer| layer.size).sum();
        let documents = (image.manifest_digest.to_string(), image.size.saturating_sub(layers));
        let blobs = image.layers.iter().map(|layer| (layer.digest.to_string(), layer.size));
        let unpacked = chains(image).into_iter().map(|chain| {
            let bytes = self.snapshot(images, &chain);
            (chain, bytes)
        });
        // Images for other machines, and what is said about this one.
        let beside = images.index_blobs(image).into_iter();
        let own = [image.manifest_digest, image.id];
        let beside = beside.filter(|(digest, _)| !own.contains(digest));
        let beside = beside.map(|(digest, size)| (digest.to_string(), size));
        let own = std::iter::once(documents).chain(blobs).chain(unpacked);
        let all: HashMap<String, u64> = own.chain(beside).collect();
        all.into_iter().collect()
    }

    /// All that an image takes, shared pieces included.
    pub(crate) fn image(&self, images: &ImageStore, image: &Image) -> u64 {
        self.pieces(images, image).iter().map(|(_, bytes)| bytes).sum()
    }

    /// The pieces of all these images.
    pub(crate) fn of(&self, images: &ImageStore, list: &[Image]) -> Pieces {
        let mut all = Pieces::default();
        for (name, bytes) in list.iter().flat_map(|image| self.pieces(images, image)) {
            all.0.entry(name).or_insert((bytes, 0)).1 += 1;
        }
        all
    }

    /// The same and every other unpacked layer, such as those that only build steps have.
    pub(crate) fn everything(&self, images: &ImageStore, list: &[Image]) -> Pieces {
        let mut all = self.of(images, list);
        for info in images.snapshots().list().into_iter().filter(|info| info.state == State::Committed) {
            all.0.entry(info.name.clone()).or_insert_with(|| (self.snapshot(images, &info.name), 0));
        }
        all
    }

    /// What of an image other images have too.
    pub(crate) fn shared(&self, images: &ImageStore, image: &Image, all: &Pieces) -> u64 {
        let pieces = self.pieces(images, image).into_iter();
        pieces.filter(|(name, _)| all.is_shared(name)).map(|(_, bytes)| bytes).sum()
    }
}

impl Pieces {
    /// Bytes on disk, each piece once.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().map(|(bytes, _)| bytes).sum()
    }

    fn is_shared(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|(_, users)| *users > 1)
    }

    /// Whether any image has that piece.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What a collection freed, as far as it was measured before.
    pub(crate) fn freed(&self, collected: &Collected) -> u64 {
        let blobs: u64 = collected.blobs.iter().map(|blob| blob.size).sum();
        let snapshots = collected.snapshots.iter().filter_map(|name| self.0.get(name));
        blobs + snapshots.map(|(bytes, _)| bytes).sum::<u64>()
    }
}

/// The chain id of each layer with all below it, lowest first: the names of the unpacked snapshots.
fn chains(image: &Image) -> Vec<String> {
    let diff_ids: Vec<_> = image.layers.iter().map(|layer| layer.diff_id).collect();
    (1..=diff_ids.len())
        .filter_map(|count| chain_id(diff_ids[..count].iter().copied()))
        .map(|id| id.hex())
        .collect()
}

/// Bytes of the files in a directory, as long as they are read, whatever they take on disk: what Docker says that a
/// container wrote. A hard-linked file counts once; directories and what cannot be read count nothing.
pub(crate) fn content(root: &Path) -> u64 {
    let mut bytes = 0;
    visit(root, |metadata| {
        if !metadata.is_dir() {
            bytes += metadata.len();
        }
    });
    bytes
}

/// Bytes that a directory's files take on disk; a hard-linked file counts once, what cannot be read counts nothing.
pub(crate) fn tree(root: &Path) -> u64 {
    let mut bytes = 0;
    visit(root, |metadata| bytes += metadata.blocks() * 512);
    bytes
}

/// Each file and directory below one; of hard links the first.
fn visit(root: &Path, mut each: impl FnMut(&Metadata)) {
    let mut links = HashSet::new();
    let mut todo: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            // The metadata of the entry itself: links are not followed.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                todo.push(entry.path());
            } else if metadata.nlink() > 1 && !links.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            each(&metadata);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_counts_hard_links_once_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), vec![1; 100_000]).unwrap();
        let once = tree(dir.path());
        assert!(once >= 100_000, "{once}");
        std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("c")).unwrap();
        assert!(tree(dir.path()) < once + 8192);
        assert_eq!(tree(&dir.path().join("absent")), 0);
    }

    #[test]
    fn what_was_written_is_as_long_as_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        assert_eq!(content(dir.path()), 0);
        std::fs::write(dir.path().join("etc/a"), "abc").unwrap();
        std::fs::hard_link(dir.path().join("etc/a"), dir.path().join("b")).unwrap();
        assert_eq!(content(dir.path()), 3);
    }
}
