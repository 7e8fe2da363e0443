//! A directory of small files that changes as a whole.
//!
//! ```text
//! target/..2026-11-20T19.57.03.123456789Z/   the files of one version
//! target/..data -> ..2026-11-20T…            swapped by rename: this is the moment of change
//! target/key    -> ..data/key                one link per first component, made once
//! ```
//! A reader that resolves through `..data` sees one version or the next, never a mixture. A crash between steps
//! leaves an unused version directory, which the next write removes.

use hako_error::{Classify, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Files by path relative to the volume.
pub(crate) type FileSet = BTreeMap<PathBuf, VolumeFile>;

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeFile {
    /// Content.
    pub(crate) bytes: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Whose it is, if not the node's.
    pub(crate) user: Option<u32>,
}

/// Why a volume's files could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The path leaves the volume or uses a reserved name.
    #[error(
        "path {0:?} is not usable in a volume: it must be relative, without '..' and not start with '..'"
    )]
    Path(PathBuf),
    /// The file system said no.
    #[error("write volume file {path}")]
    Io { path: PathBuf, source: io::Error },
}

impl Classify for WriteError {
    fn kind(&self) -> Kind {
        match self {
            Self::Path(_) => Kind::Invalid,
            Self::Io { source, .. } => Kind::of_io(source),
        }
    }
}

/// Makes `target` show exactly `files`; returns whether anything changed.
///
/// With `group`, files and directories belong to that group, and it and the owner may read them.
pub(crate) fn write(target: &Path, files: &FileSet, group: Option<u32>) -> Result<bool, WriteError> {
    for path in files.keys() {
        check(path)?;
    }
    create_dir(target, 0o777, group)?;
    let previous = fs::read_link(target.join(DATA)).ok();
    if let Some(previous) = &previous
        && is_same(&target.join(previous), files)
    {
        return Ok(false);
    }
    let version = PathBuf::from(format!("..{}", jiff::Timestamp::now().to_string().replace(':', ".")));
    let dir = target.join(&version);
    create_dir(&dir, 0o755, group)?;
    for (path, file) in files {
        write_file(&dir, path, file, group)?;
    }
    let swap = target.join(DATA_NEW);
    let _ = fs::remove_file(&swap);
    symlink(&version, &swap).map_err(at(&swap))?;
    fs::rename(&swap, target.join(DATA)).map_err(at(&target.join(DATA)))?;
    link_names(target, files)?;
    remove_others(target, &version);
    Ok(true)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError::Io { path, source }
}

fn check(path: &Path) -> Result<(), WriteError> {
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let is_reserved = first(path).is_none_or(|name| name.starts_with(".."));
    if is_plain && !is_reserved {
        return Ok(());
    }
    Err(WriteError::Path(path.to_owned()))
}

fn first(path: &Path) -> Option<String> {
    let part = path.components().next()?;
    Some(part.as_os_str().to_string_lossy().into_owned())
}

fn create_dir(dir: &Path, mode: u32, group: Option<u32>) -> Result<(), WriteError> {
    match fs::create_dir(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(at(dir)(error)),
    }
    set_owner(dir, mode | group.map_or(0, |_| 0o2050), group)
}

fn set_owner(path: &Path, mode: u32, group: Option<u32>) -> Result<(), WriteError> {
    if group.is_some() {
        chown(path, None, group).map_err(at(path))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at(path))
}

fn write_file(dir: &Path, path: &Path, file: &VolumeFile, group: Option<u32>) -> Result<(), WriteError> {
    let mut parent = dir.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        parent.push(part);
        create_dir(&parent, 0o755, group)?;
    }
    let full = dir.join(path);
    fs::write(&full, &file.bytes).map_err(at(&full))?;
    if file.user.is_some() {
        chown(&full, file.user, None).map_err(at(&full))?;
    }
    set_owner(&full, file.mode | group.map_or(0, |_| 0o440), group)
}

fn is_same(dir: &Path, files: &FileSet) -> bool {
    let Ok(mut on_disk) = paths_below(dir) else {
        return false;
    };
    let mut unchanged = |(path, file): (&PathBuf, &VolumeFile)| {
        on_disk.remove(path) && fs::read(dir.join(path)).is_ok_and(|bytes| bytes == file.bytes)
    };
    files.iter().all(&mut unchanged) && on_disk.is_empty()
}

fn paths_below(dir: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        for entry in fs::read_dir(dir.join(&below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    Ok(found)
}

fn link_names(target: &Path, files: &FileSet) -> Result<(), WriteError> {
    for name in files.keys().filter_map(|path| first(path)) {
        let link = target.join(&name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(&name), &link).map_err(at(&link))?;
        }
    }
    Ok(())
}

/// Removes old versions and the links of names that are gone. What cannot be removed is no harm: it is retried
/// by the next write and goes with the pod.
fn remove_others(target: &Path, version: &Path) {
    for entry in fs::read_dir(target).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let path = entry.path();
        if Path::new(&name) == version || name == DATA {
            continue;
        }
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if !is_link {
            let _ = fs::remove_dir_all(&path);
        } else if fs::metadata(&path).is_err() {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> FileSet {
        let file = |(path, text): &(&str, &str)| {
            let bytes = text.as_bytes().to_vec();
            (PathBuf::from(path), VolumeFile { bytes, mode: 0o640, user: None })
        };
        files.iter().map(file).collect()
    }

    #[test]
    fn a_new_version_replaces_the_old_one_at_once_and_removes_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("v");
        assert!(write(&target, &set(&[("a", "1"), ("d/b", "2")]), None).unwrap());
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(target.join("d/b")).unwrap(), "2");
        let mode = fs::metadata(target.join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        let first = fs::read_link(target.join(DATA)).unwrap();
        assert!(!write(&target, &set(&[("a", "1"), ("d/b", "2")]), None).unwrap());
        assert_eq!(fs::read_link(target.join(DATA)).unwrap(), first);

        assert!(write(&target, &set(&[("a", "3"), ("c", "4")]), None).unwrap());
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "3");
        assert_eq!(fs::read_to_string(target.join("c")).unwrap(), "4");
        assert!(fs::symlink_metadata(target.join("d")).is_err());
        let names = fs::read_dir(&target).unwrap().count();
        assert_eq!(names, 4, "one version, ..data and two links");
    }

    #[test]
    fn paths_that_leave_the_volume_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["../a", "/etc/x", "a/../b", "..data", "..2026/a", ""] {
            let error = write(&dir.path().join("v"), &set(&[(path, "x")]), None).unwrap_err();
            assert!(matches!(error, WriteError::Path(_)), "{path:?}: {error}");
        }
    }

    #[test]
    fn a_group_may_read_what_its_volume_shows() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("v");
        let mut files = set(&[("a", "1")]);
        files.get_mut(Path::new("a")).unwrap().mode = 0o400;
        write(&target, &files, Some(4242)).unwrap();
        let meta = fs::metadata(target.join("a")).unwrap();
        assert_eq!((meta.gid(), meta.mode() & 0o777), (4242, 0o440));
    }

    #[test]
    fn an_empty_set_is_an_empty_directory() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("v");
        write(&target, &set(&[]), None).unwrap();
        assert!(target.join(DATA).exists());
    }
}
