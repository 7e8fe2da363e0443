//! One group in all hierarchies.

use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::error::CgroupError;
use crate::file;
use crate::root::{CgroupRoot, Hierarchy, Version, enable_for, make, open_directory};

/// How long [`Cgroup::delete`] and [`Cgroup::freeze`] wait for the kernel to let go of exiting tasks.
const SETTLE: Duration = Duration::from_secs(10);

/// A group: the same path in every hierarchy.
#[derive(Clone, Debug)]
pub struct Cgroup {
    pub(crate) root: CgroupRoot,
    pub(crate) path: String,
}

impl Cgroup {
    pub(crate) fn new(root: CgroupRoot, path: String) -> Self {
        Self { root, path }
    }

    /// The path inside the hierarchies.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn directory(&self, hierarchy: &Hierarchy) -> PathBuf {
        hierarchy.mount.join(&self.path[1..])
    }

    /// The directories that exist.
    pub(crate) fn directories(&self) -> impl Iterator<Item = (&Hierarchy, PathBuf)> {
        let all = self.root.hierarchies().iter().map(|one| (one, self.directory(one)));
        all.filter(|(_, path)| path.is_dir())
    }

    /// The group's directory under a controller and the version of that hierarchy.
    pub(crate) fn under(&self, controller: &'static str) -> Option<(Version, PathBuf)> {
        let hierarchy = self.root.with(controller)?;
        Some((hierarchy.version, self.directory(hierarchy)))
    }

    pub(crate) fn needed(&self, controller: &'static str) -> Result<(Version, PathBuf), CgroupError> {
        let missing = || CgroupError::NoController { controller, path: self.path.clone() };
        let hierarchy = self.root.with(controller).ok_or_else(missing)?;
        make(hierarchy, &self.path)?;
        enable_for(hierarchy, &self.path, controller)?;
        Ok((hierarchy.version, self.directory(hierarchy)))
    }

    /// The directories of version 1's hierarchies, for a process that joins by itself: writing `0` to `tasks`
    /// spares it the kernel's thread-group lock, which costs milliseconds.
    #[must_use]
    pub fn v1_paths(&self) -> Vec<PathBuf> {
        let v1 = self.directories().filter(|(hierarchy, _)| hierarchy.version == Version::V1);
        v1.map(|(_, path)| path).collect()
    }

    /// The unified directory for `CLONE_INTO_CGROUP`, if there is a unified hierarchy.
    pub fn clone_fd(&self) -> Result<Option<OwnedFd>, CgroupError> {
        match self.root.unified() {
            Some(hierarchy) => open_directory(&self.directory(hierarchy)).map(Some),
            None => Ok(None),
        }
    }

    /// Moves a process into the group, in every hierarchy.
    pub fn add_process(&self, pid: u32) -> Result<(), CgroupError> {
        for (_, path) in self.directories() {
            file::write(&path.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// How often the OOM killer killed in this group.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        match self.oom_file() {
            Some((path, _)) => Ok(file::read_keyed(&path, "oom_kill")?.unwrap_or(0)),
            None => Ok(0),
        }
    }

    /// The file that counts OOM kills (key `oom_kill`) and, of version 1, the file that takes an eventfd's
    /// registration; a file of version 2 is watched by inotify.
    #[must_use]
    pub fn oom_file(&self) -> Option<(PathBuf, Option<PathBuf>)> {
        let (version, path) = self.under("memory")?;
        Some(match version {
            Version::V2 => (path.join("memory.events"), None),
            _ => (path.join("memory.oom_control"), Some(path.join("cgroup.event_control"))),
        })
    }

    /// The processes in the group and its descendants.
    pub fn processes(&self) -> Result<Vec<u32>, CgroupError> {
        let tracked = self.directories().find(|(hierarchy, _)| hierarchy.version == Version::V2);
        let Some((_, path)) = tracked.or_else(|| self.directories().next()) else {
            return Ok(Vec::new());
        };
        let mut pids = Vec::new();
        collect_processes(&path, &mut pids)?;
        Ok(pids)
    }

    /// Moves what is in the directories of `before` into those of version 1 that were made since.
    pub(crate) fn spread(&self, before: &[PathBuf]) -> Result<(), CgroupError> {
        let Some(known) = before.first() else { return Ok(()) };
        let made = self.v1_paths();
        made.iter().filter(|path| !before.contains(path)).try_for_each(|path| gather(known, path))
    }

    /// Sends SIGKILL to every process of the group and its descendants.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        let unified = self.root.unified().map(|hierarchy| self.directory(hierarchy).join("cgroup.kill"));
        match unified.filter(|file| file.exists()) {
            Some(file) => file::write(&file, "1")?,
            None => self.kill_each()?,
        }
        // Version 1: a frozen task dies only after it is thawed, and each group has a state of its own.
        match self.under("freezer") {
            Some((Version::V1, path)) if path.is_dir() => thaw(&path),
            _ => Ok(()),
        }
    }

    /// Without `cgroup.kill`: until no process is left, as they may fork meanwhile.
    fn kill_each(&self) -> Result<(), CgroupError> {
        for _ in 0..32 {
            let pids = self.processes()?;
            if pids.is_empty() {
                break;
            }
            for pid in pids {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    // One that is gone already is what we want.
                    let _gone = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
        }
        Ok(())
    }

    /// Stops or continues every task of the group; returns when the kernel says so. Tasks of a group that is stopped by one above
    /// stay so until that goes on, which nobody here waits for.
    pub fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        let path = if let Some((Version::V1, _)) = self.under("freezer") {
            let (_, path) = self.needed("freezer")?;
            file::write(&path.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" })?;
            path
        } else {
            let missing = CgroupError::NoController { controller: "freezer", path: self.path.clone() };
            let path = self.directory(self.root.unified().ok_or(missing)?);
            file::write(&path.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
            path
        };
        let is_held =
            || path.parent().is_some_and(|above| tasks(above).is_ok_and(|all| all != Tasks::Running));
        self.settle(|| match (frozen, tasks(&path)?) {
            (true, all) => Ok(all == Tasks::Stopped),
            (false, all) => Ok(all == Tasks::Running || is_held()),
        })
    }

    /// Whether its tasks are stopped, by [`Cgroup::freeze`] or by a group above.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        let unified = || Some((Version::V2, self.directory(self.root.unified()?)));
        match self.under("freezer").or_else(unified) {
            Some((_, path)) => Ok(tasks(&path)? != Tasks::Running),
            None => Ok(false),
        }
    }

    /// Removes the group and its descendants from every hierarchy. Tasks that are exiting are waited for;
    /// [`CgroupError::Busy`] when others are left.
    pub fn delete(&self) -> Result<(), CgroupError> {
        for hierarchy in self.root.hierarchies() {
            let path = self.directory(hierarchy);
            self.settle(|| remove(&path))?;
        }
        Ok(())
    }

    /// The same without waiting; `false` when tasks keep a part of it. Most groups are empty by then, and of the same form in
    /// every hierarchy: that of one is looked at, which spares the others two thirds of the calls.
    pub fn delete_empty(&self) -> Result<bool, CgroupError> {
        let below = match self.directories().next() {
            Some((_, path)) => names(&path)?,
            None => return Ok(true),
        };
        let mut is_gone = true;
        for hierarchy in self.root.hierarchies() {
            let path = self.directory(hierarchy);
            for name in &below {
                // What stays is found with the group itself.
                let _kept = fs::remove_dir(path.join(name));
            }
            is_gone &= remove(&path)?;
        }
        Ok(is_gone)
    }

    fn settle(&self, mut is_done: impl FnMut() -> Result<bool, CgroupError>) -> Result<(), CgroupError> {
        let started = Instant::now();
        let mut pause = Duration::from_micros(100);
        while !is_done()? {
            if started.elapsed() > SETTLE {
                return Err(CgroupError::Busy { path: self.path.clone() });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// What the tasks of a group do, by what the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tasks {
    Running,
    /// Some of them have yet to stop.
    Stopping,
    Stopped,
}

/// Looks at a group's directory, of either version. The root's tasks always run.
fn tasks(group: &Path) -> Result<Tasks, CgroupError> {
    if let Some(state) = file::read(&group.join("freezer.state"))? {
        return Ok(match state.as_str() {
            "THAWED" => Tasks::Running,
            "FROZEN" => Tasks::Stopped,
            _ => Tasks::Stopping,
        });
    }
    let is_stopped = file::read_keyed(&group.join("cgroup.events"), "frozen")? == Some(1);
    Ok(if is_stopped { Tasks::Stopped } else { Tasks::Running })
}

fn thaw(path: &Path) -> Result<(), CgroupError> {
    file::write(&path.join("freezer.state"), "THAWED")?;
    children(path)?.iter().try_for_each(|child| thaw(child))
}

/// Moves the processes of a group to the same group of another hierarchy, until none is left that was forked meanwhile.
fn gather(from: &Path, to: &Path) -> Result<(), CgroupError> {
    let file = to.join("cgroup.procs");
    for _ in 0..32 {
        let (mut all, mut there) = (Vec::new(), Vec::new());
        collect_processes(from, &mut all)?;
        collect_processes(to, &mut there)?;
        all.retain(|pid| !there.contains(pid));
        if all.is_empty() {
            break;
        }
        for pid in all {
            match file::write(&file, &pid.to_string()) {
                Err(CgroupError::Io { source, .. }) if is_ended(&source) => {}
                moved => moved?,
            }
        }
    }
    Ok(())
}

/// A process that ends meanwhile needs no limit.
fn is_ended(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn collect_processes(path: &Path, pids: &mut Vec<u32>) -> Result<(), CgroupError> {
    let text = file::read(&path.join("cgroup.procs"))?.unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for child in children(path)? {
        collect_processes(&child, pids)?;
    }
    Ok(())
}

fn children(path: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    Ok(names(path)?.into_iter().map(|name| path.join(name)).collect())
}

/// The names of the groups right below one.
fn names(path: &Path) -> Result<Vec<OsString>, CgroupError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if file::is_gone(&error) => return Ok(Vec::new()),
        Err(source) => return Err(file::failed("list", path, source)),
    };
    let directories =
        entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(directories.map(|entry| entry.file_name()).collect())
}

/// Whether the directory is gone; `false` while tasks keep it.
fn remove(path: &Path) -> Result<bool, CgroupError> {
    match fs::remove_dir(path) {
        Ok(()) => return Ok(true),
        Err(error) if file::is_gone(&error) => return Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {}
        Err(source) => return Err(file::failed("remove cgroup", path, source)),
    }
    for child in children(path)? {
        if !remove(&child)? {
            return Ok(false);
        }
    }
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if file::is_gone(&error) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(false),
        Err(source) => Err(file::failed("remove cgroup", path, source)),
    }
}
