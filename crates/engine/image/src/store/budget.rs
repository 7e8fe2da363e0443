//! Room on the disk: images that can be had again go when it gets tight, those used longest ago first.

use super::{Collected, ImageStore, Roots};
use crate::{Image, ImageError};
use hako_error::Result;
use hako_names::Digest;
use hako_snapshot::State;
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// When images go to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Above so many percent of the file system in use, images go.
    pub high_percent: u8,
    /// Until no more than so many are.
    pub low_percent: u8,
    /// Images used more recently than this stay.
    pub youngest: Duration,
}

impl Default for Budget {
    /// The kubelet's defaults for percentages, and an hour.
    fn default() -> Self {
        Self { high_percent: 85, low_percent: 80, youngest: Duration::from_secs(3600) }
    }
}

/// What making room did.
#[derive(Clone, Debug, Default)]
pub struct Relieved {
    /// The ids of the images that went.
    pub images: Vec<Digest>,
    /// How many spares went.
    pub spares: usize,
    /// What went with them.
    pub collected: Collected,
}

/// Something beside images that can be had again, such as the result of a build's step.
pub struct Spare {
    /// What it is, for the log.
    pub name: String,
    /// When it was last used.
    pub used: SystemTime,
    /// Forgets it; returns what it kept.
    pub forget: Box<dyn FnOnce() -> Result<Roots> + Send>,
}

impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare").field("name", &self.name).field("used", &self.used).finish_non_exhaustive()
    }
}

pub(super) type SparesOf = Box<dyn Fn() -> Result<Vec<Spare>> + Send + Sync>;

enum Candidate {
    Image(Box<Image>),
    Spare(Spare),
}

impl ImageStore {
    /// Adds a source of things that may go to make room.
    pub fn add_spares(&self, spares: impl Fn() -> Result<Vec<Spare>> + Send + Sync + 'static) {
        self.inner.spares.lock().push(Box::new(spares));
    }

    /// Makes room as the default budget has it, before and after what fills disks. That there is none is no reason
    /// not to try.
    pub fn make_room(&self) {
        if let Err(error) = self.relieve(&Budget::default()) {
            tracing::warn!(error = error.chain(), "no room could be made for images");
        }
    }

    /// Makes room if the disk is fuller than `budget` allows: first by collecting what nothing reaches, then by
    /// removing images and spares, those used longest ago first. Only images go that a registry has, or that lost
    /// their name; none that a container, a snapshot or another root uses.
    pub fn relieve(&self, budget: &Budget) -> Result<Relieved> {
        let mut relieved = Relieved::default();
        if self.used_percent()? <= budget.high_percent {
            return Ok(relieved);
        }
        // Who waits for another one that makes room finds it made.
        let _alone = self.inner.relieving.lock();
        if self.used_percent()? <= budget.high_percent {
            return Ok(relieved);
        }
        self.forget_cut_pulls(budget.youngest)?;
        relieved.collected = self.gc()?;
        for (_, candidate) in self.candidates(budget)? {
            if self.used_percent()? <= budget.low_percent {
                break;
            }
            match candidate {
                Candidate::Image(image) => self.evict(&image, &mut relieved)?,
                Candidate::Spare(spare) => {
                    tracing::info!(spare = spare.name, "an unused result is forgotten to make room");
                    relieved.collected.add(self.collect_among((spare.forget)()?)?);
                    relieved.spares += 1;
                }
            }
        }
        Ok(relieved)
    }

    /// What may go, used longest ago first.
    fn candidates(&self, budget: &Budget) -> Result<Vec<(SystemTime, Candidate)>> {
        let is_old = |used: SystemTime| used.elapsed().is_ok_and(|age| age >= budget.youngest);
        let mut candidates: Vec<(SystemTime, Candidate)> = Vec::new();
        for image in self.list()? {
            let used = self.last_used(image.manifest_digest);
            let is_elsewhere = !image.repo_digests.is_empty() || image.names.is_empty();
            if is_old(used) && is_elsewhere && !self.is_in_use(&image)? {
                candidates.push((used, Candidate::Image(Box::new(image))));
            }
        }
        for spares in self.inner.spares.lock().iter() {
            let spares = spares()?.into_iter().filter(|spare| is_old(spare.used));
            candidates.extend(spares.map(|spare| (spare.used, Candidate::Spare(spare))));
        }
        candidates.sort_by_key(|(used, _)| *used);
        Ok(candidates)
    }

    fn evict(&self, image: &Image, relieved: &mut Relieved) -> Result<()> {
        tracing::info!(image = image.display_name(), "an unused image is removed to make room");
        match self.remove(&image.manifest_digest.to_string(), true) {
            Ok(removed) => {
                relieved.images.extend(removed.deleted);
                relieved.collected.add(removed.collected);
                Ok(())
            }
            // Somebody else was faster.
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Bytes that unprivileged users may still fill on the file system of the images.
    pub fn free_bytes(&self) -> Result<u64> {
        let stat = self.stat()?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn stat(&self) -> Result<rustix::fs::StatVfs> {
        let dir = &self.inner.dir;
        Ok(rustix::fs::statvfs(dir).map_err(|error| ImageError::io("measure", dir)(error.into()))?)
    }

    /// How full the file system is, in percent of what unprivileged users may fill.
    fn used_percent(&self) -> Result<u8> {
        let stat = self.stat()?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        let percent = (used * 100).div_ceil((used + stat.f_bavail).max(1));
        Ok(u8::try_from(percent).unwrap_or(100))
    }

    fn is_in_use(&self, image: &Image) -> Result<bool> {
        let roots = self.roots()?;
        if roots.blobs.contains(&image.manifest_digest) || roots.blobs.contains(&image.id) {
            return Ok(true);
        }
        let Some(chain) = image.chain_id() else { return Ok(false) };
        let mut above: HashSet<String> = roots.snapshots;
        let all = self.snapshots().list();
        above.extend(
            all.iter().filter(|info| info.state != State::Committed).filter_map(|info| info.parent.clone()),
        );
        // What is used stands on all below it.
        let mut used: Vec<String> = above.into_iter().collect();
        let mut seen = HashSet::new();
        while let Some(name) = used.pop() {
            if name == chain || self.inner.pins.lock().holds(&chain) {
                return Ok(true);
            }
            if seen.insert(name.clone()) {
                let info = all.iter().find(|info| info.name == name);
                used.extend(info.and_then(|info| info.parent.clone()));
            }
        }
        Ok(false)
    }

    /// Remembers that an image is used now.
    pub(super) fn touch(&self, manifest: Digest) {
        let path = self.used_path(manifest);
        let touched = File::options().create(true).append(true).open(&path);
        let touched = touched.and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(?path, %error, "the use of an image is not remembered");
        }
    }

    /// Forgets it with the image.
    pub(super) fn untouch(&self, manifest: Digest) {
        let _ = fs::remove_file(self.used_path(manifest));
    }

    fn last_used(&self, manifest: Digest) -> SystemTime {
        let modified = fs::metadata(self.used_path(manifest)).and_then(|metadata| metadata.modified());
        // One that was never noted is as old as its manifest.
        modified
            .or_else(|_| fs::metadata(self.content().path(manifest)).and_then(|metadata| metadata.modified()))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn used_path(&self, manifest: Digest) -> PathBuf {
        self.inner.dir.join("used").join(manifest.hex())
    }
}
