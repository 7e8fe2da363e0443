//! The group that all shims of an instance share, beside those of the sandboxes: a service manager ends all processes of the
//! engine's group with the engine, and shims are to survive it.
//!
//! A shim is born there, as far as that is the unified hierarchy's: before the kernel moves a process there, it waits for a
//! grace period, 5 to 20 ms, unless it has just moved another.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use hako_cgroup::{Cgroup, CgroupError, CgroupRoot, Hierarchy, Version};
use rustix::fs::{Mode, OFlags};

/// What a shim's parent is told the directory by.
const WORD: &str = "--group=";

/// In an engine: makes the group that a shim of the sandbox with this group is to be in. Returns what to tell its parent.
pub(crate) fn word(root: &CgroupRoot, sandbox: &str) -> Option<OsString> {
    // What fails here fails in the shim again, and is told.
    let group = make(root, sandbox)?.ok()?;
    let mut word = OsString::from(WORD);
    word.push(directory(root.unified()?, &group));
    Some(word)
}

/// In a shim's parent: the directory that it was told.
pub(crate) fn take(args: &[OsString]) -> Option<OwnedFd> {
    let told = args.iter().find_map(|arg| arg.as_bytes().strip_prefix(WORD.as_bytes()))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(Path::new(OsStr::from_bytes(told)), flags, Mode::empty()).ok()
}

/// In a shim: goes into the group, except where it was born there.
pub(crate) fn join(sandbox: &str, is_born_there: bool) -> Result<(), String> {
    let root = CgroupRoot::detect().map_err(|error| format!("cannot find control groups: {error}"))?;
    let Some(group) = make(&root, sandbox) else { return Ok(()) };
    let group = group.map_err(|error| format!("cannot create the shims' group: {error}"))?;
    for hierarchy in root.hierarchies() {
        // See the init: "tasks" spares the kernel's thread-group lock.
        let file = match hierarchy.version {
            Version::V2 if is_born_there => continue,
            Version::V2 => "cgroup.procs",
            _ => "tasks",
        };
        write(&directory(hierarchy, &group).join(file))
            .map_err(|error| format!("cannot join the shims' group: {error}"))?;
    }
    Ok(())
}

/// None for a sandbox whose group is the only one.
fn make(root: &CgroupRoot, sandbox: &str) -> Option<Result<Cgroup, CgroupError>> {
    let parent = Path::new(sandbox).parent()?.to_str().filter(|parent| parent.len() > 1)?;
    Some(root.create_everywhere(&format!("{parent}/shims")))
}

fn directory(hierarchy: &Hierarchy, group: &Cgroup) -> PathBuf {
    hierarchy.mount.join(&group.path()[1..])
}

fn write(file: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(b"0")
}
