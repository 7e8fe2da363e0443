//! Whose files are, where a container's users are not the host's.

use crate::error::{EngineError, io};
use hako_runtime::IdMap;
use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Gives a tree that has a container's ids to the users of the host that they mean. Nobody else may be in it.
pub(crate) fn give_all(path: &Path, users: &IdMap) -> Result<(), EngineError> {
    // Not by calls in calls: a container may have made a tree of any depth.
    let mut rest = vec![path.to_owned()];
    // Files with several names are given away once.
    let mut given: HashSet<(u64, u64)> = HashSet::new();
    while let Some(path) = rest.pop() {
        let found = fs::symlink_metadata(&path).map_err(io("look at", &path))?;
        if found.is_dir() {
            for entry in fs::read_dir(&path).map_err(io("list", &path))? {
                rest.push(entry.map_err(io("list", &path))?.path());
            }
        } else if found.nlink() > 1 && !given.insert((found.dev(), found.ino())) {
            continue;
        }
        give(&path, &found, users)?;
    }
    Ok(())
}

/// Changing the owner clears set-id bits and file capabilities.
fn give(path: &Path, found: &Metadata, users: &IdMap) -> Result<(), EngineError> {
    const CAPABILITY: &str = "security.capability";
    let (uid, gid) = (found.uid(), found.gid());
    let none = || EngineError::NoSuchId { path: path.to_owned(), uid, gid };
    let (uid, gid) = users.to_host(uid, gid).ok_or_else(none)?;
    let mut value = [0; 64];
    let capability = match found.is_file() {
        true => rustix::fs::lgetxattr(path, CAPABILITY, &mut value[..]).ok(),
        false => None,
    };
    let failed = |error: rustix::io::Errno| io("change the owner of", path)(error.into());
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(rustix::fs::CWD, path, uid, gid, flags).map_err(failed)?;
    if !found.is_symlink() {
        rustix::fs::chmod(path, Mode::from_raw_mode(found.mode() & 0o7777)).map_err(failed)?;
    }
    match capability {
        Some(length) => {
            rustix::fs::lsetxattr(path, CAPABILITY, &value[..length], XattrFlags::empty()).map_err(failed)
        }
        None => Ok(()),
    }
}
