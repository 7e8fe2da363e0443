//! Snapshots: the stacked directories that become root file systems.
//!
//! Owns: the trait [`Snapshotter`], its overlayfs implementation [`Overlay`], [`MountedTree`], a merged view that no
//! path of the host shows, and going through trees that somebody else made ([`walk`], [`remove_tree`]). Does not own:
//! what is inside (hako-image applies layers), and the mount of a container's root, which happens inside the
//! container's own mount namespace.
//!
//! Invariant: a committed snapshot never changes, appeared by one rename, and exists as long as a child needs it.
//! One that a power cut caught before it was synced is gone afterwards, never damaged. The host's mount table never shows any of it.

mod durable;
mod error;
mod mounted;
mod overlay;
mod trash;
mod trees;

pub use error::SnapshotError;
pub use mounted::MountedTree;
pub use overlay::Overlay;
pub use trees::{Visitor, remove_tree, walk, walk_path};

use hako_error::Result;
use std::path::PathBuf;
use std::sync::Arc;
use trash::Trash;

/// What overlayfs is to be mounted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounts {
    /// Read-only directories, topmost first; never empty.
    pub lower: Vec<PathBuf>,
    /// Where changes go; `None` for a view, which then has at least two lower directories.
    pub upper: Option<PathBuf>,
    /// overlayfs' work directory, where there is an upper one.
    pub work: Option<PathBuf>,
}

/// What a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Writable: being unpacked, built on or run in.
    Active,
    /// Read-only look at its parent.
    View,
    /// Immutable; may have children.
    Committed,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name (committed) or key (active, view).
    pub name: String,
    /// The committed snapshot below it.
    pub parent: Option<String>,
    /// What it is.
    pub state: State,
}

/// Where snapshots come from. Names and keys share one space: 1 to 128 of `[A-Za-z0-9_.-]`, no leading dot.
///
/// All methods are synchronous and safe to call from many threads; callers on an async runtime use
/// `spawn_blocking`.
pub trait Snapshotter: Send + Sync {
    /// Makes a writable snapshot on top of `parent`.
    fn prepare(&self, key: &str, parent: Option<&str>) -> Result<Mounts>;
    /// Makes a read-only look at `parent`.
    fn view(&self, key: &str, parent: Option<&str>) -> Result<Mounts>;
    /// The mounts of an active snapshot or view.
    fn mounts(&self, key: &str) -> Result<Mounts>;
    /// The directories of a committed snapshot and of all below it, topmost first.
    fn layers(&self, name: &str) -> Result<Vec<PathBuf>>;
    /// Turns the active snapshot `key` into the immutable `name` in one step. The caller has unmounted it. It is
    /// synced soon after; what it was made from must be on disk already.
    fn commit(&self, name: &str, key: &str) -> Result<()>;
    /// The same, on top of the committed snapshot `parent` instead of the one that `key` was prepared on: its
    /// directory must be written so that it stands on that parent, whiteouts included.
    fn commit_onto(&self, name: &str, key: &str, parent: Option<&str>) -> Result<()>;
    /// Removes a snapshot; refuses while it has children.
    fn remove(&self, name: &str) -> Result<()> {
        self.retire(name)?.delete();
        Ok(())
    }
    /// The same at once, its files being left to be deleted.
    fn retire(&self, name: &str) -> Result<Retired>;
    /// Tries again to delete what could not be when its snapshot was removed; tells how many of them still stay.
    fn empty_trash(&self) -> usize;
    /// What is known of a snapshot.
    fn stat(&self, name: &str) -> Result<Info>;
    /// All snapshots, sorted by name.
    fn list(&self) -> Vec<Info>;
    /// The bytes and inodes that the snapshot itself takes on disk, without its parents.
    fn usage(&self, name: &str) -> Result<Usage>;
    /// Mounts a merged view that only the returned descriptor reaches. What is written to it is on disk when it is closed.
    fn mounted(&self, mounts: &Mounts) -> Result<MountedTree>;
    /// The same without waiting for the disk, for an active snapshot that is worth nothing before it is committed.
    fn mounted_unsynced(&self, mounts: &Mounts) -> Result<MountedTree>;
}

/// The files of a snapshot that is no more. What is not deleted goes when the snapshots are opened again.
#[derive(Debug)]
#[must_use = "its files take space until they are deleted"]
pub struct Retired {
    name: String,
    files: PathBuf,
    trash: Arc<Trash>,
}

impl Retired {
    /// Deletes them. What cannot be, as what somebody has mounted over or made immutable, stays for
    /// [`Snapshotter::empty_trash`]: it takes space, and is in nobody's way.
    pub fn delete(self) {
        self.trash.delete(self.files, &self.name);
    }
}

/// What a snapshot takes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Allocated bytes; a hard-linked file counts once.
    pub bytes: u64,
    /// Files, directories and whiteouts.
    pub inodes: u64,
}

#[cfg(test)]
mod contract;
