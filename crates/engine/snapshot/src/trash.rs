//! What is left of removed snapshots.

use crate::trees::remove_tree;
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};

/// Deletes, and remembers what would not go.
#[derive(Debug, Default)]
pub(crate) struct Trash {
    stuck: Mutex<Vec<PathBuf>>,
}

impl Trash {
    pub(crate) fn delete(&self, files: PathBuf, name: &str) {
        if let Err(error) = remove(&files) {
            tracing::warn!(%error, snapshot = name, path = ?files, "what is left of a snapshot cannot be removed; the next collection tries again");
            self.stuck.lock().push(files);
        }
    }

    /// Tries what is stuck again; tells how many of it still are.
    pub(crate) fn empty(&self) -> usize {
        // One that is tried is nobody else's meanwhile.
        let stuck = std::mem::take(&mut *self.stuck.lock());
        for files in stuck {
            if let Err(error) = remove(&files) {
                tracing::warn!(%error, path = ?files, "what is left of a snapshot still cannot be removed");
                self.stuck.lock().push(files);
            }
        }
        self.stuck.lock().len()
    }
}

fn remove(files: &Path) -> io::Result<()> {
    let mut removed = remove_tree(files);
    // Who began to write in it under its former name, as the thread does that takes the mark of an unsynced one off,
    // may end after the directory was read. Nobody begins any more, so this ends too.
    for _ in 0..8 {
        match &removed {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => removed = remove_tree(files),
            _ => break,
        }
    }
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
