//! The groups that sandboxes ask to be below.
//!
//! Owns: making what is not there of them, and removing it with the last sandbox in it.
//! Does not own: the groups of sandboxes below them.
//! Invariant: what others made stays: a group of ours has our mark, which lives and goes with it.

use crate::SandboxId;
use crate::core::Core;
use crate::record;
use hako_error::Result;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The attribute of a group that an instance made.
const MARK: &str = "trusted.hakobune";
/// So long, in all hierarchies together, a process that is about to end keeps its group.
const SETTLE: Duration = Duration::from_millis(100);

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

    /// Below a group of the caller's, ours goes with the last sandbox in it, and the caller's if it was made for that.
    /// Blocking.
    pub(crate) fn leave_group_parent(&self, id: &SandboxId) {
        let Some(parent) = self.group_parents.read().get(id).cloned() else { return };
        let own = format!("{}/hako-{}", parent.trim_start_matches('/'), self.config.instance);
        let deadline = Instant::now() + SETTLE;
        for hierarchy in self.config.cgroups.hierarchies() {
            let dir = hierarchy.mount.join(&own);
            if record::names(&dir)
                .is_ok_and(|names| names.iter().all(|name| name.parse::<SandboxId>().is_err()))
            {
                remove_group(&dir.join("shims"), deadline);
                remove_group(&dir, deadline);
            }
        }
        self.remove_group_parent(&parent);
    }

    /// Removes those of them that we made and that nobody is in; blocking.
    fn remove_group_parent(&self, parent: &str) {
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

/// Removes one group. Its last process, a shim, may be about to end, and tells nobody who could be waited for; who else is in
/// it keeps it, and what groups are in it do so at once.
fn remove_group(dir: &Path, deadline: Instant) {
    let mut pause = Duration::from_micros(100);
    while let Err(error) = std::fs::remove_dir(dir) {
        if error.kind() != ErrorKind::ResourceBusy || Instant::now() >= deadline || has_groups(dir) {
            return;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

fn has_groups(dir: &Path) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_type().ok()).any(|kind| kind.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hako_cgroup::CgroupRoot;
    use std::process::{Child, Command};

    /// A group in the first hierarchy with a process in it.
    fn group(name: &str) -> (PathBuf, Child) {
        let root = CgroupRoot::detect().unwrap();
        let dir = root.hierarchies()[0].mount.join(format!("hako-test-{name}-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        std::fs::write(dir.join("cgroup.procs"), child.id().to_string()).unwrap();
        (dir, child)
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_group_goes_with_its_last_process_and_who_stays_in_it_is_not_waited_for_without_end() {
        let (dir, child) = group("settles");
        remove_group(&dir, Instant::now());
        assert!(dir.exists(), "somebody is in it");
        let ending = std::thread::spawn(move || end(child));
        remove_group(&dir, Instant::now() + Duration::from_secs(3600));
        assert!(!dir.exists());
        ending.join().unwrap();
    }

    #[test]
    fn groups_in_a_group_keep_it_and_are_not_waited_for() {
        let (dir, child) = group("keeps");
        end(child);
        let below = dir.join("below");
        std::fs::create_dir(&below).unwrap();
        // Waiting would take longer than any test may.
        let deadline = Instant::now() + Duration::from_secs(1_000_000);
        remove_group(&dir, deadline);
        assert!(dir.exists());
        remove_group(&below, deadline);
        remove_group(&dir, deadline);
        assert!(!dir.exists());
    }
}
