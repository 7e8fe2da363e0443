//! Reading the files that become layers.
//!
//! What is read once should cost once: by default the first reader of a new file makes the file system write down when that
//! was, a change of the inode for every file of a layer that nobody ever asks for.

use super::reader::Xattrs;
use rustix::fs::{Mode, OFlags, fgetxattr, flistxattr, lgetxattr, llistxattr, open};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a regular file without a trace of it in the file's times, where that is allowed. Links are not followed.
pub fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = match open(path, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may, and who may do all.
        Err(Errno::PERM) => open(path, flags, Mode::empty()),
        opened => opened,
    };
    Ok(opened?.into())
}

/// The extended attributes of a file, in no order; `data` is the same file where it is open, which spares the way to it. A
/// file system that has none says that there are none.
pub fn xattrs(path: &Path, data: Option<&File>) -> io::Result<Xattrs> {
    let listed = whole(|names| match data {
        Some(file) => flistxattr(file, names),
        None => llistxattr(path, names),
    });
    let names = match listed {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut xattrs = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let value = whole(|value| match data {
            Some(file) => fgetxattr(file, name, value),
            None => lgetxattr(path, name, value),
        })?;
        xattrs.push((name.to_vec(), value));
    }
    Ok(xattrs)
}

/// All that a call has to say: few bytes nearly always, never more than 64 KiB.
fn whole(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut few = [0; 1 << 10];
    match call(&mut few) {
        Err(Errno::RANGE) => {}
        said => return said.map(|count| few[..count].to_vec()),
    }
    let mut many = vec![0; 1 << 16];
    let count = call(&mut many)?;
    many.truncate(count);
    Ok(many)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Timespec, Timestamps, XattrFlags, futimens, lsetxattr};
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn reading_a_file_leaves_no_trace_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&path, "content").unwrap();
        symlink(&path, &link).unwrap();
        // Older than the last change: a reader would move it.
        let time = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
        let times = Timestamps { last_access: time(1), last_modification: time(2) };
        futimens(File::open(&path).unwrap(), &times).unwrap();
        let mut text = String::new();
        open_file(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), fs::metadata(&path).unwrap().atime()), ("content", 1));
        assert!(open_file(&link).is_err());
    }

    #[test]
    fn attributes_of_any_length_are_read_by_path_and_by_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let values = [(&b"user.empty"[..], vec![]), (b"user.long", vec![7; 3000]), (b"user.short", vec![1])];
        for (name, value) in &values {
            lsetxattr(&path, *name, value, XattrFlags::empty()).unwrap();
        }
        let wanted: Vec<_> = values.iter().map(|(name, value)| (name.to_vec(), value.clone())).collect();
        for data in [None, Some(&open_file(&path).unwrap())] {
            let mut found = xattrs(&path, data).unwrap();
            found.retain(|(name, _)| name.starts_with(b"user."));
            found.sort();
            assert_eq!(found, wanted);
        }
    }
}
