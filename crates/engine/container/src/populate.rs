//! What an image has where a volume is mounted becomes the content of that volume, if it is empty: Docker's rule, by
//! which the data directory of a database's image is there, with its owner, in a new volume.

use crate::core::Core;
use crate::error::{EngineError, io};
use crate::owners;
use crate::record;
use crate::{ContainerSpec, MountSource};
use hako_error::Result;
use hako_image::layer::{DiffOptions, Limits, apply, diff};
use hako_runtime::IdMap;
use hako_snapshot::Mounts;
use rustix::fs::OFlags;
use std::fs::{self, File, Permissions};
use std::io::BufWriter;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Bounds of what is copied: an image of any size that was unpacked was accepted before.
const LIMITS: Limits = Limits { entries: 50_000_000, ..Limits::NONE };
/// Where a copy is made before it takes the volume's place, beside it.
pub(crate) const FILLING: &str = "_filling";

impl Core {
    /// Fills the empty volumes of a container from its root file system. One that somebody else has is filled in
    /// place, any other at once by a rename, so that none is half full after a crash.
    pub(crate) fn populate_volumes(
        &self,
        spec: &ContainerSpec,
        rootfs: &Mounts,
        users: Option<&IdMap>,
    ) -> Result<()> {
        let mut wanted = Vec::new();
        for mount in spec
            .mounts
            .iter()
            .filter(|mount| !spec.no_copy.contains(&mount.target) && mount.subpath.is_empty())
        {
            if let MountSource::Volume { name, .. } = &mount.source {
                let volume = self.volume(name)?;
                if volume.is_own() {
                    wanted.push((name, &mount.target, volume));
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        // Two containers may be made at once with the same new volume: the second finds it full.
        let _one = self.filling.lock();
        let tree = self.config.images.snapshots().mounted(rootfs)?;
        for (name, target, volume) in wanted {
            if !is_empty(&volume.path)? {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let Ok(source) = hako_sys::open_in_root(tree.as_fd(), target, flags) else {
                // The image has no directory there: nothing is to be copied.
                continue;
            };
            let source = File::from(source);
            if self.volume_user(name).is_some() {
                fill(&source, &volume.path, users)?;
            } else {
                replace(&source, &volume.path, users)?;
            }
        }
        Ok(())
    }
}

fn is_empty(dir: &Path) -> Result<bool, EngineError> {
    Ok(fs::read_dir(dir).map_err(io("list", dir))?.next().is_none())
}

fn replace(source: &File, volume: &Path, users: Option<&IdMap>) -> Result<()> {
    let filling = volume.with_file_name(FILLING);
    record::remove_tree(&filling)?;
    fs::create_dir(&filling).map_err(io("make directory", &filling))?;
    hako_sys::failpoint!("volume.fill.begun");
    fill(source, &filling, users)?;
    hako_sys::failpoint!("volume.fill.copied");
    fs::rename(&filling, volume).map_err(io("put the content in place of", volume))?;
    hako_sys::failpoint!("volume.fill.done");
    Ok(())
}

/// Copies what is in `source` with owners, modes, times, links, devices and extended attributes, as a tar without a
/// file. They are the owners that `users` says.
fn fill(source: &File, target: &Path, users: Option<&IdMap>) -> Result<()> {
    let opened = File::open(target).map_err(io("open", target))?;
    let from = PathBuf::from(format!("/proc/self/fd/{}/.", source.as_raw_fd()));
    let what = target.display().to_string();
    let (reader, writer) = std::io::pipe().map_err(io("copy to", target))?;
    let (read, written) = std::thread::scope(|scope| {
        let writing = scope
            .spawn(|| diff(&from, &[], &DiffOptions::default(), BufWriter::with_capacity(1 << 16, writer)));
        let read = apply(&opened, reader, &what, LIMITS);
        (read, writing.join())
    });
    // When reading fails the writer is told no more than that nobody reads.
    read?;
    written.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let meta = source.metadata().map_err(io("stat", &from))?;
    chown(target, Some(meta.uid()), Some(meta.gid())).map_err(io("change the owner of", target))?;
    let mode = Permissions::from_mode(meta.mode() & 0o7777);
    fs::set_permissions(target, mode).map_err(io("change the mode of", target))?;
    users.map_or(Ok(()), |users| Ok(owners::give_all(target, users)?))
}
