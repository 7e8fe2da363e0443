//! The groups that sandboxes ask to be below.
//!
//! Owns: making what is not there of them, and removing it with the last sandbox in it.
//! Does not own: the groups of ours below them.
//! Invariant: what others made stays: a group of ours has our mark, which lives and goes with it.

use crate::SandboxId;
use crate::core::Core;
use hako_error::Result;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use std::path::{Path, PathBuf};

/// The attribute of a group that an instance made.
const MARK: &str = "trusted.hakobune";

impl Core {
    /// Makes the groups above a sandbox's that are not there; blocking.
    pub(crate) fn make_group_parent(&self, id: &SandboxId) -> Result<()> {
        let Some(parent) = self.group_parents.read().get(id).cloned() else { return Ok(()) };
        let missing: Vec<PathBuf> =
            self.parents(&parent).into_iter().flatten().filter(|dir| !dir.exists()).collect();
        self.config.cgroups.create_everywhere(&parent)?;
        for dir in missing.iter().filter(|dir| dir.exists()) {
            if let Err(error) = setxattr(dir, MARK, self.config.instance.as_bytes(), XattrFlags::empty()) {
                tracing::debug!(dir = %dir.display(), %error, "a group is not marked and stays");
            }
        }
        Ok(())
    }

    /// Removes those of them that we made and that nobody is in; blocking.
    pub(crate) fn remove_group_parent(&self, parent: &str) {
        for dirs in self.parents(parent) {
            // The innermost first. One that others are in cannot be removed, nor can those above it.
            let _is_used =
                dirs.iter().rev().take_while(|dir| self.is_marked(dir)).try_for_each(std::fs::remove_dir);
        }
    }

    fn is_marked(&self, dir: &Path) -> bool {
        let mut value = [0; 16];
        getxattr(dir, MARK, &mut value)
            .is_ok_and(|length| value[..length] == *self.config.instance.as_bytes())
    }

    /// For each hierarchy the directories on the way to a group, outermost first.
    fn parents(&self, parent: &str) -> Vec<Vec<PathBuf>> {
        let below = |mount: &Path| {
            let parts = parent.split('/').filter(|part| !part.is_empty());
            let way = parts.scan(mount.to_owned(), |dir, part| {
                dir.push(part);
                Some(dir.clone())
            });
            way.collect()
        };
        self.config.cgroups.hierarchies().iter().map(|hierarchy| below(&hierarchy.mount)).collect()
    }
}
