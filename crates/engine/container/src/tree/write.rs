//! An archive into a container.

use super::Tree;
use crate::error::EngineError;
use hako_error::Result;
use hako_image::layer::{ExtractOptions, extract};
use rustix::fs::{FileType, OFlags, StatVfsMountFlags, fstatvfs};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

/// How an archive is put into a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extraction {
    /// Fail where a directory would take the place of something else, or the other way round.
    pub keeps_kinds: bool,
    /// Everything belongs to the container's user, not to the owners that the archive names.
    pub to_user: bool,
}

impl Tree {
    /// Extracts a plain tar into a directory of the container. Not in one step: what came before a failure stays.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` or `Forbidden` in Docker's words where the path is missing, is no directory or is
    /// read-only.
    pub fn extract(&self, path: &str, tar: impl Read, how: Extraction) -> Result<()> {
        let directory = format!("{path}/");
        let found = match self.open(directory.as_bytes(), OFlags::PATH) {
            Err(Errno::NOTDIR) => return Err(EngineError::NoDirectory { path: path.to_owned() }.into()),
            opened => opened.map_err(|error| self.failed(path, error))?,
        };
        let root =
            self.open(b"/", OFlags::RDONLY | OFlags::DIRECTORY).map_err(|error| self.failed("/", error))?;
        self.check_writable(path, &found, &root)?;
        let owners = self.owners.clone();
        let options = ExtractOptions {
            directory: self.inside(path)?,
            keeps_kinds: how.keeps_kinds,
            owner: how.to_user.then_some(self.owner),
            owners: Some(Arc::new(move |node, owner| owners.to_host(node, owner))),
        };
        self.owners.make_as_root()?;
        extract(&File::from(root), tar, "the archive", &options)
    }

    fn check_writable(
        &self,
        path: &str,
        found: &std::os::fd::OwnedFd,
        root: &std::os::fd::OwnedFd,
    ) -> Result<()> {
        let flags = fstatvfs(found).map_err(|error| self.failed(path, error))?.f_flag;
        if !flags.contains(StatVfsMountFlags::RDONLY) {
            return Ok(());
        }
        let device = |fd| rustix::fs::fstat(fd).map(|stat| stat.st_dev);
        let what = if device(found) == device(root) { "container rootfs" } else { "mounted volume" };
        Err(EngineError::ReadOnly { what }.into())
    }

    /// The path from the root without `.` and `..`, which are taken as the kernel takes them.
    fn inside(&self, path: &str) -> Result<Vec<u8>> {
        let mut walked: Vec<&str> = Vec::new();
        for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if part == ".." {
                // `..` after a link is not the directory before it: only the kernel may decide that.
                let is_link = |path: &str| {
                    let stat = self.find(path).map(|found| FileType::from_raw_mode(found.stat.st_mode));
                    stat.is_ok_and(|kind| kind == FileType::Symlink)
                };
                if is_link(&walked.join("/")) {
                    return Err(EngineError::NoFile {
                        path: path.to_owned(),
                        container: self.container.clone(),
                    }
                    .into());
                }
                walked.pop();
            } else {
                walked.push(part);
            }
        }
        Ok(walked.join("/").into_bytes())
    }
}
