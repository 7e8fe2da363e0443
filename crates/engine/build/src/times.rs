//! The times of whole trees, which may be deeper than any path.

use crate::error::BuildError;
use hako_snapshot::{Visitor, walk_path};
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, Timespec, Timestamps, statat, utimensat};
use rustix::io::Result as SysResult;
use std::ffi::CStr;
use std::path::Path;

/// Sets every time at and below `path`, in seconds since 1970.
pub(crate) fn set(path: &Path, unix_s: i64) -> Result<(), BuildError> {
    walk_path(path, &mut Times { unix_s, is_later_only: false })
        .map_err(BuildError::io("set the times in", path))
}

/// The same for those that are later.
pub(crate) fn clamp(path: &Path, epoch_unix_s: i64) -> Result<(), BuildError> {
    walk_path(path, &mut Times { unix_s: epoch_unix_s, is_later_only: true })
        .map_err(BuildError::io("set the times in", path))
}

struct Times {
    unix_s: i64,
    is_later_only: bool,
}

impl Times {
    fn set(&self, dir: BorrowedFd<'_>, name: &CStr) -> SysResult<()> {
        if self.is_later_only {
            let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if stat.st_mtime < self.unix_s || stat.st_mtime == self.unix_s && stat.st_mtime_nsec == 0 {
                return Ok(());
            }
        }
        let time = Timespec { tv_sec: self.unix_s, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }
}

impl Visitor for Times {
    fn file(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> SysResult<()> {
        self.set(dir, name)
    }

    fn enter(&mut self, _: BorrowedFd<'_>, _: &CStr) -> SysResult<bool> {
        Ok(true)
    }

    fn leave(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> SysResult<()> {
        self.set(dir, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn times_are_set_in_the_whole_tree_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/file"), "").unwrap();
        fs::write(dir.path().join("outside"), "").unwrap();
        std::os::unix::fs::symlink("../outside", root.join("link")).unwrap();
        let of = |path: &str| dir.path().join(path).symlink_metadata().unwrap().mtime();
        let all = ["root", "root/a", "root/a/b", "root/a/file", "root/link"];
        set(&root, 1000).unwrap();
        assert_eq!(all.map(of), [1000; 5]);
        clamp(&root, 2000).unwrap();
        assert_eq!(all.map(of), [1000; 5]);
        clamp(&root, 500).unwrap();
        assert_eq!(all.map(of), [500; 5]);
        assert!(of("outside") > 1000);
    }
}
