//! What dockerd has in a layer below each container: signs that it is one.
//!
//! Owns: one directory that all standalone containers have as the lowest of their layers.
//! Does not own: mount points, which the runtime makes where they are missing.
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
        let mut mounts = self.config.images.snapshots().mounts(&snapshot_key(container.id.as_str()))?;
        if container.standalone() {
            mounts.lower.push(self.layout.base());
        }
        Ok(mounts)
    }
}

/// Makes the directory, or finds it made: containers that run may have it mounted.
pub(crate) fn make(dir: &Path) -> Result<(), EngineError> {
    let (etc, sign) = (dir.join("etc"), dir.join(".dockerenv"));
    create_dir_all(&etc).map_err(io("make directory", &etc))?;
    File::options().append(true).create(true).open(&sign).map_err(io("make", &sign))?;
    for path in [dir, etc.as_path(), sign.as_path()] {
        set_permissions(path, Permissions::from_mode(0o755)).map_err(io("change the mode of", path))?;
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
            let sign = std::fs::metadata(base.join(".dockerenv")).unwrap();
            assert_eq!((sign.len(), sign.permissions().mode() & 0o7777), (0, 0o755));
            assert_eq!(std::fs::read_link(base.join("etc/mtab")).unwrap(), Path::new("/proc/mounts"));
        }
    }
}
