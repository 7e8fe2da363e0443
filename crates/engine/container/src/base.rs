//! What dockerd has in a layer below each container: signs that it is one.
//!
//! Owns: one directory that all standalone containers have as the lowest of their layers.
//! Does not own: other mount points than those below /etc, which the runtime makes where they are missing.
//! Invariant: nothing in it is a change of a container's: it is neither in its snapshot nor in what is compared or
//! committed, and what an image has of its own hides it.

use crate::container::ContainerObject;
use crate::core::Core;
use crate::error::{EngineError, io};
use crate::{Engine, snapshot_key};
use hako_error::Result;
use hako_names::ContainerId;
use hako_snapshot::Mounts;
use std::fs::{File, Permissions, create_dir_all, set_permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

impl Engine {
    /// What the root of a container is mounted from: for those who read all of it, as an export does. What it changed
    /// is to be compared with the layers of its snapshot alone.
    ///
    /// # Errors
    /// When the container is not there.
    pub fn root_mounts(&self, id: &ContainerId) -> Result<Mounts> {
        let container = self.core.container(id)?;
        self.core.root_mounts(&container)
    }
}

impl Core {
    /// The layers of a container with those below its image's.
    pub(crate) fn root_mounts(&self, container: &ContainerObject) -> Result<Mounts> {
        let mounts = self.config.images.snapshots().mounts(&snapshot_key(container.id.as_str()))?;
        Ok(self.with_base(mounts, container.standalone()))
    }

    /// These layers, of a container that is one by itself with those below its image's.
    pub(crate) fn with_base(&self, mut mounts: Mounts, is_standalone: bool) -> Mounts {
        if is_standalone {
            mounts.lower.push(self.layout.base());
        }
        mounts
    }
}

/// Makes the directory, or finds it made: containers that run may have it mounted.
pub(crate) fn make(dir: &Path) -> Result<(), EngineError> {
    let etc = dir.join("etc");
    create_dir_all(&etc).map_err(io("make directory", &etc))?;
    // The places of the sandbox's files: a volume at /etc gets them with what else is there, also where it is read-only.
    for name in [".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf"] {
        let path = dir.join(name);
        File::options().append(true).create(true).open(&path).map_err(io("make", &path))?;
    }
    for name in ["", "etc", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf"] {
        let path = dir.join(name);
        set_permissions(&path, Permissions::from_mode(0o755)).map_err(io("change the mode of", &path))?;
    }
    let mtab = etc.join("mtab");
    match symlink("/proc/mounts", &mtab) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(io("make", &mtab)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        for _ in 0..2 {
            make(&base).unwrap();
            for name in [".dockerenv", "etc/hostname"] {
                let file = std::fs::metadata(base.join(name)).unwrap();
                assert_eq!((file.len(), file.permissions().mode() & 0o7777), (0, 0o755), "{name}");
            }
            assert_eq!(std::fs::read_link(base.join("etc/mtab")).unwrap(), Path::new("/proc/mounts"));
        }
    }
}
