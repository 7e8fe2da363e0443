//! A path inside a volume, resolved so that no link can lead out of it.
//!
//! A container can write its volume, so a part of the path may be a link to anywhere. The kernel resolves the path
//! with the volume as the root (openat2, RESOLVE_IN_ROOT), missing directories are made one component at a time
//! on opened directories, and what comes back is the path of what was opened, free of links.

use super::VolumeError;
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// The real path of `sub_path` below `volume`; missing directories are made with `mode`.
pub(crate) fn resolve(volume: &Path, sub_path: &str, mode: u32) -> Result<PathBuf, VolumeError> {
    let escapes =
        || VolumeError::SubPath { sub_path: sub_path.to_owned(), why: "it must stay inside its volume" };
    let failed = |source: Errno| VolumeError::Io {
        volume: String::new(),
        path: volume.join(sub_path),
        source: source.into(),
    };
    let parts = Path::new(sub_path).components();
    if parts.clone().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(escapes());
    }
    let root = open(&rustix::fs::CWD, volume, ResolveFlags::empty()).map_err(failed)?;
    let found = match open_in(&root, Path::new(sub_path)) {
        Err(Errno::NOENT) => create(&root, Path::new(sub_path), mode),
        other => other,
    };
    let found = match found {
        Ok(found) => found,
        Err(Errno::XDEV | Errno::LOOP) => return Err(escapes()),
        Err(errno) => return Err(failed(errno)),
    };
    let path = real_path(&found).map_err(failed)?;
    let root = real_path(&root).map_err(failed)?;
    if path.starts_with(&root) { Ok(path) } else { Err(escapes()) }
}

fn open(dir: &impl std::os::fd::AsFd, path: &Path, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(dir, path, flags, Mode::empty(), resolve | ResolveFlags::NO_MAGICLINKS)
}

fn open_in(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    open(root, path, ResolveFlags::IN_ROOT)
}

fn create(root: &OwnedFd, path: &Path, mode: u32) -> Result<OwnedFd, Errno> {
    let mut so_far = PathBuf::new();
    let mut dir = open_in(root, Path::new("."))?;
    for part in path.components() {
        so_far.push(part);
        dir = match open_in(root, &so_far) {
            Err(Errno::NOENT) => {
                match mkdirat(&dir, Path::new(part.as_os_str()), Mode::from_raw_mode(mode)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                // A dangling link is there already, and making what it names is not asked for.
                open(&dir, Path::new(part.as_os_str()), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)?
            }
            other => other?,
        };
    }
    Ok(dir)
}

fn real_path(fd: &OwnedFd) -> Result<PathBuf, Errno> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    fs::read_link(link).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn missing_directories_are_made_and_links_inside_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().canonicalize().unwrap();
        assert_eq!(resolve(&volume, "a/b", 0o755).unwrap(), volume.join("a/b"));
        assert!(volume.join("a/b").is_dir());
        symlink("a", volume.join("link")).unwrap();
        assert_eq!(resolve(&volume, "link/b", 0o755).unwrap(), volume.join("a/b"));
        fs::write(volume.join("file"), "x").unwrap();
        assert_eq!(resolve(&volume, "file", 0o755).unwrap(), volume.join("file"));
    }

    #[test]
    fn no_link_leads_out_of_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().canonicalize().unwrap().join("v");
        fs::create_dir(&volume).unwrap();
        symlink("/etc", volume.join("abs")).unwrap();
        symlink("../..", volume.join("up")).unwrap();
        symlink("/proc/self/root", volume.join("magic")).unwrap();
        for path in ["abs/passwd", "up/x", "magic/etc"] {
            if let Ok(found) = resolve(&volume, path, 0o755) {
                assert!(found.starts_with(&volume), "{path} led to {}", found.display());
            }
        }
        for path in ["../x", "/etc", "a/../../x"] {
            assert!(matches!(resolve(&volume, path, 0o755), Err(VolumeError::SubPath { .. })), "{path}");
        }
        assert!(!Path::new("/etc/passwd").is_dir());
    }
}
