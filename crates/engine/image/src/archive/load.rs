//! Reading archives and layout directories.

use super::intake::{Intake, unusable};
use super::resolve::{LayoutImage, resolve, resolve_one};
use crate::layer::{Decoder, EntryKind, TarReader, clean, sniff};
use crate::transfer::Progress;
use crate::{Image, ImageError, ImageStore};
use hako_error::{Error, Kind, Result};
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tokio::sync::mpsc;

impl ImageStore {
    /// Loads every image of an archive: of `docker save`, old or new, or an OCI layout as tar; plain, gzip or
    /// zstd. One pass, so that it may come from a pipe. Images without a name keep none. What cannot be loaded
    /// leaves nothing behind. The names of what is returned are those that the archive gives, not all that point to it.
    pub fn load(&self, archive: impl Read, progress: &Progress) -> Result<Vec<Image>> {
        self.loading(progress, resolve, |intake| {
            let (compression, archive) = sniff(BufReader::with_capacity(1 << 17, archive))?;
            let mut tar = TarReader::new(progress.stop().reader(Decoder::new(archive, compression)?));
            let broken = |source| crate::layer::ApplyError::Stream { layer: "the archive".into(), source };
            while let Some(entry) = tar.next().map_err(broken)? {
                let name = || String::from_utf8_lossy(&entry.path).into_owned();
                let path = clean(&entry.path).map_err(|reason| unusable(&name(), reason))?;
                match &entry.kind {
                    EntryKind::File if entry.sparse.is_some() => {
                        return Err(unusable(&name(), "a sparse file in an archive of images").into());
                    }
                    EntryKind::File => intake.file(path, entry.size, &mut tar)?,
                    EntryKind::HardLink(target) => {
                        let target = clean(target).map_err(|reason| unusable(&name(), reason))?;
                        intake.link(path, target)?;
                    }
                    EntryKind::Symlink(target) => {
                        let parent = path.rsplitn(2, |byte| *byte == b'/').nth(1).unwrap_or_default();
                        let target = clean(&[parent, target].join(&b'/'));
                        intake.link(path.clone(), target.map_err(|reason| unusable(&name(), reason))?)?;
                    }
                    _ => {}
                }
            }
            Ok(())
        })
    }

    /// Loads every image of an OCI layout directory; names are returned as by [`load`](Self::load).
    pub fn load_layout(&self, dir: &Path, progress: &Progress) -> Result<Vec<Image>> {
        self.loading(progress, resolve, |intake| take_layout(intake, dir))
    }

    /// Takes one image of an OCI layout directory without its name, so that what has that name here keeps it. `None`
    /// if the layout has no such image, or has it for other machines only.
    pub fn take_from_layout(
        &self,
        dir: &Path,
        meant: LayoutImage<'_>,
        progress: &Progress,
    ) -> Result<Option<Image>> {
        let one = |intake: &mut Intake<'_>| resolve_one(intake, meant);
        Ok(self.loading(progress, one, |intake| take_layout(intake, dir))?.pop())
    }

    fn loading(
        &self,
        progress: &Progress,
        resolve: impl FnOnce(&mut Intake<'_>) -> Result<Vec<Image>>,
        take: impl FnOnce(&mut Intake<'_>) -> Result<()>,
    ) -> Result<Vec<Image>> {
        self.make_room();
        let (alive, mut all_gone) = mpsc::channel(1);
        let stop = progress.stop().of_a_part();
        let mut loaded = {
            let lease = self.lease("load")?;
            let mut intake = Intake::new(self, &lease, progress, stop.clone(), alive);
            let loaded = take(&mut intake).and_then(|()| resolve(&mut intake));
            if loaded.is_err() {
                // What threads still have to unpack is for nobody.
                stop.stop();
            }
            loaded
        };
        if loaded.is_err() && progress.stop().is_wanted() {
            loaded = Err(Error::new(Kind::Cancelled, "it was stopped"));
        }
        // As after a pull: threads that were cut off clean up first.
        let _ = all_gone.blocking_recv();
        if loaded.is_err() {
            self.collect_released()?;
        }
        self.make_room();
        loaded.map_err(|error| error.context("cannot load the archive"))
    }
}

fn take_layout(intake: &mut Intake<'_>, dir: &Path) -> Result<()> {
    take_directory(intake, dir, Path::new("blobs/sha256"))?;
    take_directory(intake, dir, Path::new(""))
}

fn take_directory(intake: &mut Intake<'_>, dir: &Path, below: &Path) -> Result<()> {
    let path = dir.join(below);
    for entry in std::fs::read_dir(&path).map_err(ImageError::io("list", &path))? {
        let entry = entry.map_err(ImageError::io("list", &path))?;
        // A link could name any file of this machine.
        if !entry.file_type().map_err(ImageError::io("look at", &path))?.is_file() {
            continue;
        }
        let name = below.join(entry.file_name());
        let path = entry.path();
        let mut file = File::open(&path).map_err(ImageError::io("open", &path))?;
        let size = file.metadata().map_err(ImageError::io("stat", &path))?.len();
        intake.file(name.as_os_str().as_bytes().to_vec(), size, &mut file)?;
    }
    Ok(())
}
