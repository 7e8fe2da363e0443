//! Room on the disk: images that can be had again go when it gets tight, those used longest ago first.

use super::{Collected, ImageStore, Roots};
use crate::{Image, ImageError};
use hako_error::Result;
use hako_names::Digest;
use hako_snapshot::State;
use std::collections::HashSet;
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
    /// What went with them.
    pub collected: Collected,
}

impl ImageStore {
    /// Makes room if the disk is fuller than `budget` allows: first by collecting what nothing reaches, then by
    /// removing images, those used longest ago first. Only images go that a registry has, or that lost their
    /// name; none that a container, a snapshot or another root uses.
    pub fn relieve(&self, budget: &Budget) -> Result<Relieved> {
        let mut relieved = Relieved::default();
        if self.used_percent()? <= budget.high_percent {
            return Ok(relieved);
        }
        relieved.collected = self.gc()?;
        let mut candidates: Vec<(SystemTime, Image)> = Vec::new();
        for image in self.list()? {
            let used = self.last_used(image.manifest_digest);
            let is_old = used.elapsed().is_ok_and(|age| age >= budget.youngest);
            let is_elsewhere = !image.repo_digests.is_empty() || image.names.is_empty();
            if is_old && is_elsewhere && !self.is_in_use(&image)? {
                candidates.push((used, image));
            }
        }
        candidates.sort_by_key(|(used, image)| (*used, image.id));
        for (_, image) in candidates {
            if self.used_percent()? <= budget.low_percent {
                break;
            }
            tracing::info!(image = image.display_name(), "an unused image is removed to make room");
            let removed = self.remove(&image.manifest_digest.to_string(), true)?;
            relieved.images.extend(removed.deleted);
            relieved.collected.blobs.extend(removed.collected.blobs);
            relieved.collected.snapshots.extend(removed.collected.snapshots);
        }
        Ok(relieved)
    }

    /// How full the file system is, in percent of what unprivileged users may fill.
    fn used_percent(&self) -> Result<u8> {
        let dir = &self.inner.dir;
        let stat = rustix::fs::statvfs(dir).map_err(|error| ImageError::io("measure", dir)(error.into()))?;
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        let percent = (used * 100).div_ceil((used + stat.f_bavail).max(1));
        Ok(u8::try_from(percent).unwrap_or(100))
    }

    fn is_in_use(&self, image: &Image) -> Result<bool> {
        let mut roots = Roots::default();
        for extra in self.inner.roots.lock().iter() {
            let extra = extra()?;
            roots.blobs.extend(extra.blobs);
            roots.snapshots.extend(extra.snapshots);
        }
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
            if name == chain || self.inner.pins.lock().contains_key(&chain) {
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
