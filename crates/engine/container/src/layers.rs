//! Looking into a root file system that is not mounted.
//!
//! A container's overlay exists only inside its own mount namespace. What the engine needs from the image before
//! (users, groups) it reads from the layers themselves: [`Layers`] finds a path in a stack of directories by the
//! rules of overlayfs (whiteouts, opaque directories) and never leaves the stack, whatever links it meets.

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// How many symbolic links one look-up follows, as the kernel's own bound.
const MAX_LINKS: usize = 40;
/// Bound of a file read whole: /etc/passwd of a hostile image.
const MAX_FILE: u64 = 4 << 20;

/// A stack of layers, topmost first.
#[derive(Debug)]
pub(crate) struct Layers<'a> {
    dirs: Vec<&'a Path>,
}

/// A directory as the stack shows it: the same path in each layer that contributes, topmost first.
pub(crate) type Merged = Vec<OwnedFd>;

pub(crate) enum Found {
    Dir(Merged),
    File(OwnedFd),
    Link(PathBuf),
    Other,
    Nothing,
}

impl<'a> Layers<'a> {
    /// The stack of these directories, topmost first.
    pub(crate) fn new(dirs: impl IntoIterator<Item = &'a Path>) -> Self {
        Self { dirs: dirs.into_iter().collect() }
    }

    /// The content of a regular file, `None` when there is no such file.
    pub(crate) fn read(&self, path: &Path) -> std::io::Result<Option<Vec<u8>>> {
        match self.find(path)? {
            Found::File(fd) => {
                let mut content = Vec::new();
                std::fs::File::from(fd).take(MAX_FILE).read_to_end(&mut content)?;
                Ok(Some(content))
            }
            _ => Ok(None),
        }
    }

    /// The names in a directory; empty when there is no such directory.
    #[cfg(test)]
    pub(crate) fn has_dir(&self, path: &Path) -> std::io::Result<bool> {
        Ok(matches!(self.find(path)?, Found::Dir(_)))
    }

    fn root(&self) -> std::io::Result<Merged> {
        self.dirs.iter().map(|dir| Ok(open_dir(rustix::fs::CWD, dir)?)).collect()
    }

    fn find(&self, path: &Path) -> std::io::Result<Found> {
        let mut todo = parts(path);
        let mut trail = vec![self.root()?];
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let here = &trail[trail.len() - 1];
            match step(here, Path::new(&name))? {
                Found::Dir(merged) => trail.push(merged),
                Found::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if target.is_absolute() {
                        trail.truncate(1);
                    }
                    let mut next = parts(&target);
                    next.append(&mut todo);
                    todo = next;
                }
                found if todo.is_empty() => return Ok(found),
                _ => return Ok(Found::Nothing),
            }
        }
        Ok(trail.pop().map_or(Found::Nothing, Found::Dir))
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

fn open_dir(at: impl AsFd, name: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// One name in a merged directory.
pub(crate) fn step(here: &Merged, name: &Path) -> std::io::Result<Found> {
    let mut merged = Vec::new();
    for layer in here {
        let stat = match rustix::fs::statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
        if kind != FileType::Directory {
            if !merged.is_empty() || is_whiteout {
                break;
            }
            return leaf(layer, name, kind);
        }
        let dir = open_dir(layer, name)?;
        let opaque = is_opaque(&dir);
        merged.push(dir);
        if opaque {
            break;
        }
    }
    Ok(if merged.is_empty() { Found::Nothing } else { Found::Dir(merged) })
}

fn leaf(layer: &OwnedFd, name: &Path, kind: FileType) -> std::io::Result<Found> {
    match kind {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            Ok(Found::File(rustix::fs::openat(layer, name, flags, Mode::empty())?))
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(layer, name, Vec::new())?;
            Ok(Found::Link(OsString::from_vec(target.into_bytes()).into()))
        }
        _ => Ok(Found::Other),
    }
}

pub(crate) fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = [0_u8; 4];
    let read = rustix::fs::fgetxattr(dir, "trusted.overlay.opaque", &mut value);
    matches!(read, Ok(1) if matches!(value[0], b'y' | b'x'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_cannot_leave_the_stack_and_upper_layers_win() {
        let tmp = tempfile::tempdir().unwrap();
        let (upper, lower) = (tmp.path().join("upper"), tmp.path().join("lower"));
        fs::create_dir_all(upper.join("etc")).unwrap();
        fs::create_dir_all(lower.join("etc/real")).unwrap();
        fs::write(tmp.path().join("secret"), "outside").unwrap();
        fs::write(lower.join("etc/real/passwd"), "inside").unwrap();
        symlink("/etc/real/passwd", lower.join("etc/passwd")).unwrap();
        symlink("../../../secret", lower.join("etc/out")).unwrap();
        symlink("loop", lower.join("etc/loop")).unwrap();
        fs::write(lower.join("etc/group"), "old").unwrap();
        fs::write(upper.join("etc/group"), "new").unwrap();
        let layers = Layers::new([upper.as_path(), lower.as_path()]);
        let read = |path: &str| layers.read(Path::new(path));
        assert_eq!(read("/etc/passwd").unwrap().unwrap(), b"inside");
        assert_eq!(read("etc/group").unwrap().unwrap(), b"new");
        assert_eq!(read("/etc/out").unwrap(), None);
        assert!(read("/etc/loop").is_err());
        assert!(layers.has_dir(Path::new("/etc/../etc/real")).unwrap());
    }

    #[test]
    fn whiteouts_and_opaque_directories_hide_what_is_below() {
        let tmp = tempfile::tempdir().unwrap();
        let (upper, lower) = (tmp.path().join("upper"), tmp.path().join("lower"));
        fs::create_dir_all(upper.join("b")).unwrap();
        for dir in ["a", "b"] {
            fs::create_dir_all(lower.join(dir)).unwrap();
            fs::write(lower.join(dir).join("file"), "x").unwrap();
        }
        fs::create_dir_all(upper.join("a")).unwrap();
        let whiteout = upper.join("a/file");
        rustix::fs::mknodat(rustix::fs::CWD, &whiteout, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        rustix::fs::setxattr(
            upper.join("b"),
            "trusted.overlay.opaque",
            b"y",
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        let layers = Layers::new([upper.as_path(), lower.as_path()]);
        assert_eq!(layers.read(Path::new("/a/file")).unwrap(), None);
        assert_eq!(layers.read(Path::new("/b/file")).unwrap(), None);
    }
}
