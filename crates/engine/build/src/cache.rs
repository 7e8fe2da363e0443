//! Results of steps by what went into them.
//!
//! A key is a digest over everything a step's result depends on; a record says which layer it gave. Records are
//! files beside the images, so that they outlive the process; their layers are roots of collection.

use crate::error::BuildError;
use crate::settling::Pending;
use hako_content::Lease;
use hako_error::Result;
use hako_image::{ImageStore, Layer, Roots, Spare};
use hako_names::Digest;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Records that no build asked for so long are dropped when the builder starts.
const KEEP: Duration = Duration::from_secs(14 * 24 * 3600);

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The layer; `None` if nothing changed.
    pub layer: Option<Layer>,
    /// The snapshot with that layer on top.
    pub snapshot: Option<String>,
    /// When it was made.
    pub created: String,
    /// The content key, where it is the definition's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
}

/// A step's result that is kept, for those who ask what takes space.
#[derive(Clone, Debug)]
pub struct CachedStep {
    /// Over everything that went into the step.
    pub key: Digest,
    /// What it gave; `None` if the step changed nothing.
    pub layer: Option<Layer>,
    /// When it ran, RFC 3339.
    pub created: String,
    /// When a build last asked for it.
    pub used: jiff::Timestamp,
}

/// Which results of steps stay when others go; without either none does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// Those used last, with layers of at most so many bytes together.
    pub bytes: Option<u64>,
    /// Those used since then.
    pub since: Option<jiff::Timestamp>,
}

/// The directory of records.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    /// What each record keeps, so that a collection need not read them all.
    kept: Arc<Mutex<HashMap<PathBuf, Kept>>>,
    /// Results that will be recorded.
    pub pending: Pending,
}

/// A record's layer and snapshot.
type Kept = (Option<Digest>, Option<String>);

impl Cache {
    pub(crate) fn open(images: &ImageStore) -> Result<Self> {
        let dir = images.dir().join("build-cache");
        fs::create_dir_all(&dir).map_err(BuildError::io("create", &dir))?;
        for entry in fs::read_dir(&dir).map_err(BuildError::io("list", &dir))?.flatten() {
            let age = entry.metadata().and_then(|metadata| metadata.modified());
            let is_old =
                age.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > KEEP));
            if is_old || entry.path().extension().is_none_or(|extension| extension != "json") {
                let _ = fs::remove_file(entry.path());
            }
        }
        let kept = Arc::new(Mutex::new(read_all(&dir)));
        let cache = Self { dir, kept, pending: Pending::default() };
        let roots = cache.clone();
        images.add_roots(move || Ok(roots.roots()));
        let spares = cache.clone();
        images.add_spares(move || Ok(spares.spares()?));
        Ok(cache)
    }

    /// The record of that key, if its layer is still there; it is under `lease` from then on.
    pub(crate) fn get(&self, key: Digest, lease: &Lease) -> Option<Record> {
        self.pending.wait_for(key);
        let path = self.path(key);
        let record: Record = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        // Who prunes may have removed it this moment.
        if record.layer.as_ref().is_some_and(|layer| lease.protect(layer.digest).is_err()) {
            let _ = self.forget(&path);
            return None;
        }
        let _ = fs::File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(record)
    }

    /// Remembers a step's result. A power cut may lose it, which costs one run of the step.
    pub(crate) fn put(&self, key: Digest, record: &Record) -> Result<(), BuildError> {
        let path = self.path(key);
        let new = path.with_extension(format!("new{:?}", std::thread::current().id()));
        let written =
            serde_json::to_vec(record).map_err(std::io::Error::from).and_then(|bytes| fs::write(&new, bytes));
        // One step with what is kept in memory: who forgets it in between would leave that behind.
        let mut all = self.kept.lock();
        written.and_then(|()| fs::rename(&new, &path)).map_err(BuildError::io("write", &path))?;
        all.insert(path, kept(record));
        Ok(())
    }

    /// Every record, in no particular order; one that cannot be read is left out.
    pub(crate) fn list(&self) -> Result<Vec<CachedStep>, BuildError> {
        let mut steps = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(BuildError::io("list", &self.dir))?.flatten() {
            let path = entry.path();
            let key = path.file_stem().and_then(|stem| format!("sha256:{}", stem.to_str()?).parse().ok());
            let record = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let used = modified.and_then(|time| jiff::Timestamp::try_from(time).ok());
            if let (Some(key), Some(record), Some(used)) = (key, record, used) {
                steps.push(CachedStep { key, layer: record.layer, created: record.created, used });
            }
        }
        Ok(steps)
    }

    /// Forgets every result.
    pub(crate) fn clear(&self) -> Result<(), BuildError> {
        for entry in fs::read_dir(&self.dir).map_err(BuildError::io("list", &self.dir))?.flatten() {
            // What has another ending is being written by a build that runs.
            if entry.path().extension().is_some_and(|extension| extension == "json") {
                self.forget(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Forgets the results that do not stay; returns them.
    pub(crate) fn thin(&self, keep: Keep) -> Result<Vec<CachedStep>, BuildError> {
        let mut steps = self.list()?;
        steps.sort_by_key(|step| std::cmp::Reverse(step.used));
        let (mut room, mut counted) = (keep.bytes, HashSet::new());
        let mut gone = Vec::new();
        for step in steps {
            let layer = step.layer.as_ref().filter(|layer| counted.insert(layer.digest));
            // What is older than the first that has no room goes too.
            room = room.and_then(|room| room.checked_sub(layer.map_or(0, |layer| layer.size)));
            let is_recent = keep.since.is_some_and(|since| step.used >= since);
            if room.is_none() && !is_recent {
                self.forget(&self.path(step.key))?;
                gone.push(step);
            }
        }
        Ok(gone)
    }

    /// Forgets one result; returns what it kept.
    fn forget(&self, path: &Path) -> Result<Roots, BuildError> {
        let mut all = self.kept.lock();
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(BuildError::io("remove", path)(error));
            }
            _ => {}
        }
        let (blob, snapshot) = all.remove(path).unwrap_or_default();
        Ok(Roots { blobs: blob.into_iter().collect(), snapshots: snapshot.into_iter().collect() })
    }

    fn roots(&self) -> Roots {
        let kept = self.kept.lock();
        Roots {
            blobs: kept.values().filter_map(|(blob, _)| *blob).collect(),
            snapshots: kept.values().filter_map(|(_, snapshot)| snapshot.clone()).collect(),
        }
    }

    /// Every result can be had again.
    fn spares(&self) -> Result<Vec<Spare>, BuildError> {
        let mut spares = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(BuildError::io("list", &self.dir))?.flatten() {
            let path = entry.path();
            let Ok(used) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
            if path.extension().is_some_and(|extension| extension == "json") {
                let (cache, name) = (self.clone(), format!("build step {}", path.display()));
                spares.push(Spare { name, used, forget: Box::new(move || Ok(cache.forget(&path)?)) });
            }
        }
        Ok(spares)
    }

    fn path(&self, key: Digest) -> PathBuf {
        self.dir.join(format!("{}.json", key.hex()))
    }
}

fn kept(record: &Record) -> Kept {
    (record.layer.as_ref().map(|layer| layer.digest), record.snapshot.clone())
}

fn read_all(dir: &Path) -> HashMap<PathBuf, Kept> {
    let read = |path: PathBuf| {
        let record: Record = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        Some((path, kept(&record)))
    };
    fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| read(entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_while_it_is_written_keeps_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache { dir: dir.path().to_owned(), kept: Arc::default(), pending: Pending::default() };
        let record =
            Record { layer: None, snapshot: Some("s".into()), created: String::new(), content: None };
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for number in 0..3000_u32 {
                    cache.put(Digest::of(&number.to_le_bytes()), &record).unwrap();
                }
            });
            while !writing.is_finished() {
                cache.clear().unwrap();
            }
        });
        cache.clear().unwrap();
        assert!(cache.roots().snapshots.is_empty());
    }
}
