//! Files and directories that live as long as a build.

use crate::error::BuildError;
use hako_snapshot::remove_tree;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory that goes when this is dropped, or when the next builder starts.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new one in `parent`.
    pub(crate) fn new(parent: &Path) -> Result<Self, BuildError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = parent.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&path).map_err(BuildError::io("create", &path))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "remove what a build needed");
        }
    }
}
