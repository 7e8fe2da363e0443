//! What a container changed of its image's files.

use crate::layers::{Found, Merged, step};
use crate::{Engine, snapshot_key};
use hako_error::Result;
use hako_names::ContainerId;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories below each other: each holds a descriptor.
const MAX_DEPTH: usize = 512;
/// Places that every container has of its own.
const MADE: [&str; 8] =
    ["/dev", "/proc", "/sys", "/dev/console", "/dev/pts", "/dev/shm", "/dev/mqueue", "/run/secrets"];

/// One path that is not as the image has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From the container's root.
    pub path: PathBuf,
    /// What became of it.
    pub kind: ChangeKind,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Its content, its attributes or something below it.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

impl Engine {
    /// What a container changed so far, sorted by path. Targets of mounts are left out.
    ///
    /// # Errors
    /// When the container is not there or its files cannot be read.
    pub async fn changes(&self, id: &ContainerId) -> Result<Vec<Change>> {
        let container = self.core.container(id)?;
        let core = std::sync::Arc::clone(&self.core);
        crate::error::blocking(move || {
            let mounts = core.config.images.snapshots().mounts(&snapshot_key(container.id.as_str()))?;
            let files = container.sandbox.files().mounts();
            let spec = &container.record.spec;
            let targets = spec.mounts.iter().map(|mount| mount.target.clone());
            let files = files.iter().map(|(_, target)| PathBuf::from(target));
            let hidden = targets.chain(files).chain(MADE.iter().map(PathBuf::from)).collect();
            let Some(upper) = mounts.upper else { return Ok(Vec::new()) };
            let failed =
                |error: rustix::io::Errno| crate::error::io("compare the files of", &upper)(error.into());
            let root = |dir: &Path| openat(rustix::fs::CWD, dir, FLAGS, Mode::empty());
            let lower = mounts.lower.iter().map(|dir| root(dir)).collect::<rustix::io::Result<Merged>>();
            let mut walk = Walk { hidden, found: Vec::new() };
            walk.directory(&root(&upper).map_err(failed)?, &lower.map_err(failed)?, Path::new("/"), 0)
                .map_err(crate::error::io("compare the files of", &upper))?;
            walk.found.sort_by(|one, other| one.path.cmp(&other.path));
            Ok(walk.found)
        })
        .await
    }
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Walk {
    hidden: Vec<PathBuf>,
    found: Vec<Change>,
}

impl Walk {
    /// Returns whether something in the directory changed.
    fn directory(
        &mut self,
        upper: &OwnedFd,
        lower: &Merged,
        path: &Path,
        depth: usize,
    ) -> std::io::Result<bool> {
        let before = self.found.len();
        for entry in Dir::read_from(upper)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if matches!(name.as_slice(), b"." | b"..") || depth >= MAX_DEPTH {
                continue;
            }
            let name = Path::new(std::ffi::OsStr::from_bytes(&name)).to_owned();
            self.entry(upper, lower, &name, &path.join(&name), depth)?;
        }
        Ok(self.found.len() > before)
    }

    fn entry(
        &mut self,
        upper: &OwnedFd,
        lower: &Merged,
        name: &Path,
        path: &Path,
        depth: usize,
    ) -> std::io::Result<()> {
        let stat = match statat(upper, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            stat => stat?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return self.note(path, ChangeKind::Deleted);
        }
        let below = step(lower, name)?;
        let is_new = matches!(below, Found::Nothing);
        if kind != FileType::Directory {
            return self.note(path, if is_new { ChangeKind::Added } else { ChangeKind::Modified });
        }
        let dir = openat(upper, name, FLAGS, Mode::empty())?;
        let is_opaque = crate::layers::is_opaque(&dir);
        let (merged, was_same) = match below {
            Found::Dir(merged) => {
                let old = merged.first().map(rustix::fs::fstat).transpose()?;
                let same = old.is_some_and(|old| {
                    (old.st_mode, old.st_uid, old.st_gid) == (stat.st_mode, stat.st_uid, stat.st_gid)
                });
                (if is_opaque { Vec::new() } else { merged }, same && !is_opaque)
            }
            _ => (Vec::new(), false),
        };
        let has_changes = self.directory(&dir, &merged, path, depth + 1)?;
        if is_new {
            self.note(path, ChangeKind::Added)?;
        } else if has_changes || !was_same {
            self.found.push(Change { path: path.to_owned(), kind: ChangeKind::Modified });
        }
        Ok(())
    }

    /// Targets of mounts are made by the engine, not by the container.
    fn note(&mut self, path: &Path, kind: ChangeKind) -> std::io::Result<()> {
        let is_hidden =
            self.hidden.iter().any(|target| target.starts_with(path) && kind == ChangeKind::Added);
        if !is_hidden {
            self.found.push(Change { path: path.to_owned(), kind });
        }
        Ok(())
    }
}
