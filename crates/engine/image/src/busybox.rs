//! A base image from a machine's own static busybox.

use crate::ImageError;
use crate::layer::{Entry, EntryKind, TarWriter};
use hako_error::Result;
use std::io;
use std::path::Path;
use std::process::Command;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
const DIRECTORIES: [(&str, u32); 12] = [
    ("bin/", 0o755),
    ("dev/", 0o755),
    ("etc/", 0o755),
    ("home/", 0o755),
    ("proc/", 0o755),
    ("root/", 0o700),
    ("sys/", 0o755),
    ("tmp/", 0o1777),
    ("usr/", 0o755),
    ("usr/bin/", 0o755),
    ("var/", 0o755),
    ("var/tmp/", 0o1777),
];

/// The tar of a small root file system: the statically linked busybox at `path`, its applets as links, and the
/// files that programs expect in `/etc`. The same busybox gives the same tar.
pub fn busybox_rootfs(path: &Path) -> Result<Vec<u8>> {
    let program = std::fs::read(path).map_err(ImageError::io("read", path))?;
    let listed = Command::new(path).arg("--list").output().map_err(ImageError::io("run", path))?;
    let mut applets: Vec<&str> = std::str::from_utf8(&listed.stdout).unwrap_or("").lines().collect();
    applets.retain(|name| *name != "busybox" && !name.is_empty() && !name.contains('/'));
    applets.sort_unstable();
    if !listed.status.success() || applets.is_empty() {
        let reason =
            "\"--list\" names no applets, is it a static busybox? (Debian: apt-get install busybox-static)";
        return Err(ImageError::Unusable { what: path.display().to_string(), reason: reason.into() }.into());
    }
    Ok(tar(&program, &applets).map_err(ImageError::io("pack", path))?)
}

fn tar(program: &[u8], applets: &[&str]) -> io::Result<Vec<u8>> {
    let mut tar = TarWriter::new(Vec::new());
    for (name, mode) in DIRECTORIES {
        tar.append(&entry(name, EntryKind::Directory, mode, 0), io::empty())?;
    }
    tar.append(&entry("bin/busybox", EntryKind::File, 0o755, program.len()), program)?;
    for applet in applets {
        let link = EntryKind::HardLink(b"bin/busybox".to_vec());
        tar.append(&entry(&format!("bin/{applet}"), link, 0o755, 0), io::empty())?;
    }
    let env = EntryKind::Symlink(b"../../bin/env".to_vec());
    tar.append(&entry("usr/bin/env", env, 0o777, 0), io::empty())?;
    for (name, text) in
        [("etc/group", GROUP), ("etc/hosts", ""), ("etc/passwd", PASSWD), ("etc/resolv.conf", "")]
    {
        tar.append(&entry(name, EntryKind::File, 0o644, text.len()), text.as_bytes())?;
    }
    tar.finish()
}

fn entry(name: &str, kind: EntryKind, mode: u32, size: usize) -> Entry {
    Entry {
        path: name.as_bytes().to_vec(),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime_s: 0,
        mtime_ns: 0,
        size: size as u64,
        xattrs: Vec::new(),
        sparse: None,
    }
}
