//! /dev: nodes and links.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hako_sys::{open_in_root, open_or_create_in_root};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, makedev, mknodat, statat, symlinkat, unlinkat,
};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::error::{InitError, failed};
use super::ground::Ground;
use super::mounts::attach;
use super::stage::Scratch;
use crate::plan::DevicePlan;

/// Links every container has: (path in /dev, what it shows).
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Where devices come from that this process may not make.
#[derive(Debug)]
pub(super) struct Source<'a> {
    /// All of them, made before.
    pub made: Option<Vec<OwnedFd>>,
    /// How the host is reached, where it was left.
    pub ground: Option<&'a Ground>,
}

pub(super) fn make(
    root: BorrowedFd<'_>,
    devices: &[DevicePlan],
    source: &Source<'_>,
) -> Result<(), InitError> {
    let dev = open_or_create_in_root(root, Path::new("/dev"), true)
        .map_err(failed("cannot open /dev in the container"))?;
    for (index, device) in devices.iter().enumerate() {
        let tree = source.made.as_ref().and_then(|made| made.get(index));
        let from = (tree, source.ground);
        match device.path.strip_prefix("/dev") {
            Ok(name) if name.components().count() == 1 => place(dev.as_fd(), name, device, from)?,
            _ => {
                let parent = device.path.parent().unwrap_or(Path::new("/"));
                let name = device.path.file_name().map(Path::new).unwrap_or(Path::new("device"));
                let parent = open_or_create_in_root(root, parent, true)
                    .map_err(failed(format!("cannot create the directory of {}", device.path.display())))?;
                place(parent.as_fd(), name, device, from)?;
            }
        }
    }
    for (name, target) in LINKS {
        match symlinkat(target, dev.as_fd(), name) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed(format!("cannot create /dev/{name}"))(error)),
        }
    }
    Ok(())
}

fn place(
    parent: BorrowedFd<'_>,
    name: &Path,
    device: &DevicePlan,
    (made, ground): (Option<&OwnedFd>, Option<&Ground>),
) -> Result<(), InitError> {
    match made {
        Some(tree) => show(parent, name, tree.as_fd(), device),
        None => node(parent, name, device, ground),
    }
}

/// The devices as mounts, for a container whose root may not make any. `site` is a directory that nobody else sees;
/// `root` owns what belongs to user 0.
pub(super) fn stage(
    site: &Path,
    devices: &[DevicePlan],
    root: (u32, u32),
) -> Result<Vec<OwnedFd>, InitError> {
    let scratch = Scratch::mount(site)?;
    let one = |(index, device): (usize, &DevicePlan)| {
        let doing = || format!("cannot create device {}", device.path.display());
        let name = index.to_string();
        let name = Path::new(&name);
        let owned = DevicePlan {
            uid: if device.uid == 0 { root.0 } else { device.uid },
            gid: if device.gid == 0 { root.1 } else { device.gid },
            ..device.clone()
        };
        node(scratch.directory.as_fd(), name, &owned, None)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(scratch.directory.as_fd(), name, flags).map_err(failed(doing()))
    };
    devices.iter().enumerate().map(one).collect()
}

fn node(
    parent: BorrowedFd<'_>,
    name: &Path,
    device: &DevicePlan,
    ground: Option<&Ground>,
) -> Result<(), InitError> {
    let doing = || format!("cannot create device {}", device.path.display());
    let number = makedev(device.major, device.minor);
    let kind = match device.kind {
        'b' => FileType::BlockDevice,
        'p' => FileType::Fifo,
        _ => FileType::CharacterDevice,
    };
    let create = || mknodat(parent, name, kind, Mode::from_raw_mode(device.mode), number);
    match create() {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => {
            let found = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed(doing()))?;
            if FileType::from_raw_mode(found.st_mode) == kind
                && (kind == FileType::Fifo || found.st_rdev == number)
            {
                return Ok(());
            }
            // The image's, and not what its name says.
            unlinkat(parent, name, AtFlags::empty()).map_err(failed(doing()))?;
            create().map_err(failed(doing()))?;
        }
        // Inside another container: its nodes can be shown, not made.
        Err(rustix::io::Errno::PERM) => return bind(parent, name, device, ground),
        Err(error) => return Err(failed(doing())(error)),
    }
    if device.uid != 0 || device.gid != 0 {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed(doing()))?;
    }
    Ok(())
}

fn bind(
    parent: BorrowedFd<'_>,
    name: &Path,
    device: &DevicePlan,
    ground: Option<&Ground>,
) -> Result<(), InitError> {
    let doing = || format!("cannot show the host's {} in the container", device.path.display());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = match ground {
        Some(ground) => ground.take_of_host(&device.path),
        None => open_tree(CWD.as_fd(), &device.path, flags),
    };
    let tree = tree.map_err(failed(doing()))?;
    show(parent, name, tree.as_fd(), device)
}

fn show(
    parent: BorrowedFd<'_>,
    name: &Path,
    tree: BorrowedFd<'_>,
    device: &DevicePlan,
) -> Result<(), InitError> {
    let doing = || format!("cannot show {} in the container", device.path.display());
    let target = match open_in_root(parent, name, OFlags::PATH) {
        Ok(target) => target,
        Err(_) => open_or_create_in_root(parent, name, false).map_err(failed(doing()))?,
    };
    attach(tree, target.as_fd()).map_err(failed(doing()))
}
