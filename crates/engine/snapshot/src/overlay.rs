//! Snapshots as directories for overlayfs.
//!
//! ```text
//! DIR/live/<dir>/{record.json, fs/, work/}     active snapshots and views
//! DIR/committed/<dir>/{record.json, fs/}       immutable ones
//! DIR/new/, DIR/trash/                         being made, being removed; emptied at open
//! DIR/empty/, DIR/scratch/                     an empty lower directory; a mount point for older kernels
//! ```
//! `<dir>` is the name, or 16 hex digits of its digest when it is long: mount options are limited to a page.

use crate::durable::{Syncer, boot_id};
use crate::trash::Trash;
use crate::trees::{measure, remove_tree};
use crate::{Info, MountedTree, Mounts, Retired, SnapshotError, Snapshotter, State, Usage};
use hako_error::Result;
use hako_names::Digest;
use parking_lot::Mutex;
use rustix::fs::{CWD, Mode, RenameFlags, chmod, chown, renameat_with, stat};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const LIVE: &str = "live";
const COMMITTED: &str = "committed";
const NEW: &str = "new";
const TRASH: &str = "trash";
const EMPTY: &str = "empty";
const SCRATCH: &str = "scratch";
/// Longer names are stored under a part of their digest.
const LONGEST_DIR: usize = 32;

/// The overlayfs implementation of [`Snapshotter`]; only directories and renames, it never mounts anything.
#[derive(Debug)]
pub struct Overlay {
    dir: PathBuf,
    /// INVARIANT: equals what the directories say; changed only after the rename that it mirrors.
    index: Mutex<BTreeMap<String, Info>>,
    next: AtomicU64,
    syncer: Syncer,
    trash: Arc<Trash>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    parent: Option<String>,
    is_view: bool,
    /// The boot in which it was committed, until it is known to be on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unsynced_boot: Option<String>,
}

impl Overlay {
    /// Opens or creates the snapshots in `dir` and removes what an earlier process left half done.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref().to_path_buf();
        for name in [LIVE, COMMITTED, NEW, TRASH, EMPTY, SCRATCH] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(SnapshotError::io("create", &path, "store"))?;
        }
        // Images hold set-uid programs of their own root: nobody else may reach them (CVE-2021-41103).
        chmod(&dir, Mode::from_raw_mode(0o700)).map_err(SnapshotError::io(
            "close to others",
            &dir,
            "store",
        ))?;
        for name in [NEW, TRASH] {
            remove_children(&dir.join(name))?;
        }
        let trash = dir.join(TRASH);
        let mut index = BTreeMap::new();
        for name in [LIVE, COMMITTED] {
            read_records(&dir.join(name), name == COMMITTED, &trash, &mut index)?;
        }
        let syncer = Syncer::default();
        for path in settle(&dir.join(COMMITTED), &trash, &mut index)? {
            syncer.later(path, settled);
        }
        Ok(Self { dir, index: Mutex::new(index), next: AtomicU64::new(0), syncer, trash: Arc::default() })
    }

    fn place(&self, floor: &str, name: &str) -> PathBuf {
        self.dir.join(floor).join(dir_name(name))
    }

    /// A name that nothing there has: what could not be removed keeps its own.
    fn fresh(&self, floor: &str) -> PathBuf {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.dir.join(floor).join(number.to_string());
            if path.symlink_metadata().is_err() {
                return path;
            }
        }
    }

    /// The directories of `parent` and all below it, topmost first.
    fn chain(index: &BTreeMap<String, Info>, parent: Option<&str>) -> Result<Vec<String>, SnapshotError> {
        let mut chain: Vec<String> = Vec::new();
        let mut next = parent;
        while let Some(name) = next {
            let info = index.get(name).ok_or_else(|| SnapshotError::NotFound { name: name.into() })?;
            if info.state != State::Committed {
                return Err(SnapshotError::NotCommitted { name: name.into() });
            }
            chain.push(name.to_owned());
            next = info.parent.as_deref();
        }
        Ok(chain)
    }

    fn mounts_of(&self, index: &BTreeMap<String, Info>, info: &Info) -> Result<Mounts, SnapshotError> {
        let chain = Self::chain(index, info.parent.as_deref())?;
        let mut lower: Vec<PathBuf> =
            chain.iter().map(|name| self.place(COMMITTED, name).join("fs")).collect();
        let live = self.place(LIVE, &info.name);
        if info.state == State::View {
            while lower.len() < 2 {
                lower.push(self.dir.join(if lower.contains(&self.dir.join(EMPTY)) {
                    SCRATCH
                } else {
                    EMPTY
                }));
            }
            return Ok(Mounts { lower, upper: None, work: None });
        }
        if lower.is_empty() {
            lower.push(self.dir.join(EMPTY));
        }
        Ok(Mounts { lower, upper: Some(live.join("fs")), work: Some(live.join("work")) })
    }

    fn make(&self, key: &str, parent: Option<&str>, state: State) -> Result<Mounts> {
        check_name(key)?;
        let mut index = self.index.lock();
        if index.contains_key(key) {
            return Err(SnapshotError::AlreadyExists { name: key.into() }.into());
        }
        let info = Info { name: key.into(), parent: parent.map(Into::into), state };
        let mounts = self.mounts_of(&index, &info)?;
        let (new, live) = (self.fresh(NEW), self.place(LIVE, key));
        let made = fill(&new, &info, mounts.lower.first().filter(|_| parent.is_some())).and_then(|()| {
            hako_sys::failpoint!("snapshot.make.filled");
            Ok(renameat_with(CWD, &new, CWD, &live, RenameFlags::NOREPLACE)?)
        });
        if let Err(error) = made {
            let _ = remove_tree(&new);
            return Err(SnapshotError::io("prepare", &live, key)(error).into());
        }
        hako_sys::failpoint!("snapshot.make.done");
        index.insert(key.into(), info);
        Ok(mounts)
    }
}

impl Snapshotter for Overlay {
    fn prepare(&self, key: &str, parent: Option<&str>) -> Result<Mounts> {
        self.make(key, parent, State::Active)
    }

    fn view(&self, key: &str, parent: Option<&str>) -> Result<Mounts> {
        self.make(key, parent, State::View)
    }

    fn mounts(&self, key: &str) -> Result<Mounts> {
        let index = self.index.lock();
        match index.get(key) {
            None => Err(SnapshotError::NotFound { name: key.into() }.into()),
            Some(info) if info.state == State::Committed => {
                Err(SnapshotError::NotActive { name: key.into() }.into())
            }
            Some(info) => Ok(self.mounts_of(&index, info)?),
        }
    }

    fn layers(&self, name: &str) -> Result<Vec<PathBuf>> {
        let chain = Self::chain(&self.index.lock(), Some(name))?;
        Ok(chain.iter().map(|name| self.place(COMMITTED, name).join("fs")).collect())
    }

    fn commit(&self, name: &str, key: &str) -> Result<()> {
        let parent = self.stat(key)?.parent;
        self.commit_onto(name, key, parent.as_deref())
    }

    fn commit_onto(&self, name: &str, key: &str, parent: Option<&str>) -> Result<()> {
        check_name(name)?;
        let live = self.place(LIVE, key);
        let info = Info { parent: parent.map(Into::into), ..self.stat(key)? };
        if info.state != State::Active {
            return Err(SnapshotError::NotActive { name: key.into() }.into());
        }
        Self::chain(&self.index.lock(), parent)?;
        let record = Record {
            name: name.into(),
            parent: info.parent.clone(),
            is_view: false,
            unsynced_boot: Some(boot_id().to_owned()),
        };
        seal(&live, &record).map_err(SnapshotError::io("seal", &live, key))?;
        let mut index = self.index.lock();
        if index.contains_key(name) {
            return Err(SnapshotError::AlreadyExists { name: name.into() }.into());
        }
        // Again under the lock that the removal of a parent takes.
        Self::chain(&index, parent)?;
        let committed = self.place(COMMITTED, name);
        renameat_with(CWD, &live, CWD, &committed, RenameFlags::NOREPLACE)
            .map_err(SnapshotError::io("commit", &committed, name))?;
        index.remove(key);
        index.insert(name.into(), Info { name: name.into(), parent: info.parent, state: State::Committed });
        drop(index);
        self.syncer.later(committed, settled);
        Ok(())
    }

    fn retire(&self, name: &str) -> Result<Retired> {
        let files = self.fresh(TRASH);
        let mut index = self.index.lock();
        let info = index.get(name).ok_or_else(|| SnapshotError::NotFound { name: name.into() })?;
        if let Some(child) = index.values().find(|info| info.parent.as_deref() == Some(name)) {
            return Err(SnapshotError::InUse { name: name.into(), child: child.name.clone() }.into());
        }
        let floor = if info.state == State::Committed { COMMITTED } else { LIVE };
        let place = self.place(floor, name);
        fs::rename(&place, &files).map_err(SnapshotError::io("remove", &place, name))?;
        hako_sys::failpoint!("snapshot.remove.renamed");
        index.remove(name);
        Ok(Retired { name: name.into(), files, trash: Arc::clone(&self.trash) })
    }

    fn empty_trash(&self) -> usize {
        self.trash.empty()
    }

    fn stat(&self, name: &str) -> Result<Info> {
        let index = self.index.lock();
        Ok(index.get(name).cloned().ok_or_else(|| SnapshotError::NotFound { name: name.into() })?)
    }

    fn list(&self) -> Vec<Info> {
        self.index.lock().values().cloned().collect()
    }

    fn mounted(&self, mounts: &Mounts) -> Result<MountedTree> {
        MountedTree::mount(mounts, &self.dir.join(SCRATCH))
    }

    fn mounted_unsynced(&self, mounts: &Mounts) -> Result<MountedTree> {
        MountedTree::mount_unsynced(mounts, &self.dir.join(SCRATCH))
    }

    fn usage(&self, name: &str) -> Result<Usage> {
        let info = self.stat(name)?;
        let floor = if info.state == State::Committed { COMMITTED } else { LIVE };
        let place = self.place(floor, name).join("fs");
        Ok(measure(&place).map_err(SnapshotError::io("measure", &place, name))?)
    }
}

fn check_name(name: &str) -> Result<(), SnapshotError> {
    let is_safe = (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if is_safe { Ok(()) } else { Err(SnapshotError::Name { name: name.into() }) }
}

fn dir_name(name: &str) -> String {
    if name.len() <= LONGEST_DIR {
        return name.to_owned();
    }
    let mut digits = Digest::of(name.as_bytes()).hex();
    digits.truncate(24);
    digits
}

/// Makes the directories of a new live snapshot; its root gets owner and mode of the root below it.
fn fill(new: &Path, info: &Info, below: Option<&PathBuf>) -> io::Result<()> {
    let root = new.join("fs");
    fs::create_dir(new)?;
    chmod(new, Mode::from_raw_mode(0o711))?;
    fs::create_dir(&root)?;
    fs::create_dir(new.join("work"))?;
    match below {
        Some(below) => {
            let below = stat(below)?;
            chown(
                &root,
                Some(rustix::fs::Uid::from_raw(below.st_uid)),
                Some(rustix::fs::Gid::from_raw(below.st_gid)),
            )?;
            chmod(&root, Mode::from_raw_mode(below.st_mode & 0o7777))?;
        }
        None => chmod(&root, Mode::from_raw_mode(0o755))?,
    }
    let (name, parent) = (info.name.clone(), info.parent.clone());
    let record = Record { name, parent, is_view: info.state == State::View, unsynced_boot: None };
    write_record(new, &record)
}

fn write_record(dir: &Path, record: &Record) -> io::Result<()> {
    let (path, new) = (dir.join("record.json"), dir.join("record.new"));
    fs::write(&new, serde_json::to_vec(record)?)?;
    fs::rename(new, path)
}

/// Prepares a live directory for its rename: no work directory, the new record.
fn seal(live: &Path, record: &Record) -> io::Result<()> {
    let work = live.join("work");
    if work.exists() {
        remove_tree(&work)?;
    }
    write_committed_record(live, record)
}

/// The record of the committed name lies beside the live one until the rename: a crash in between leaves a
/// live snapshot under its own key.
fn write_committed_record(live: &Path, record: &Record) -> io::Result<()> {
    fs::write(live.join("committed.json"), serde_json::to_vec(record)?)
}

/// Takes the mark off a snapshot that is on disk.
fn settled(dir: &Path) -> io::Result<()> {
    let (path, new) = (dir.join("committed.json"), dir.join("committed.new"));
    let mut record: Record = serde_json::from_slice(&fs::read(&path)?)?;
    record.unsynced_boot = None;
    let file = File::create(&new)?;
    serde_json::to_writer(&file, &record)?;
    file.sync_data()?;
    fs::rename(new, path)
}

/// Removes what a power cut may have damaged, with all that stood on it; returns what has yet to be synced.
fn settle(
    floor: &Path,
    trash: &Path,
    index: &mut BTreeMap<String, Info>,
) -> Result<Vec<PathBuf>, SnapshotError> {
    let (mut pending, mut lost) = (Vec::new(), HashSet::new());
    let committed = index.values().filter(|info| info.state == State::Committed);
    for name in committed.map(|info| info.name.clone()) {
        let path = floor.join(dir_name(&name));
        let record = fs::read(path.join("committed.json"));
        let record: Option<Record> = record.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match record.and_then(|record| record.unsynced_boot) {
            Some(boot) if boot == boot_id() => pending.push(path),
            Some(_) => drop(lost.insert(name)),
            None => {}
        }
    }
    loop {
        let stands_on = |info: &&Info| info.parent.as_ref().is_some_and(|parent| lost.contains(parent));
        let committed = index.values().filter(|info| info.state == State::Committed);
        let more: Vec<String> = committed
            .filter(stands_on)
            .filter(|info| !lost.contains(&info.name))
            .map(|info| info.name.clone())
            .collect();
        if more.is_empty() {
            break;
        }
        lost.extend(more);
    }
    for name in lost {
        let path = floor.join(dir_name(&name));
        tracing::warn!(name, "a snapshot that was not on disk before a power cut is removed");
        discard(&path, trash).map_err(SnapshotError::io("remove", &path, &name))?;
        pending.retain(|waiting| *waiting != path);
        index.remove(&name);
    }
    Ok(pending)
}

fn read_records(
    floor: &Path,
    is_committed: bool,
    trash: &Path,
    index: &mut BTreeMap<String, Info>,
) -> Result<(), SnapshotError> {
    let failed = |source| SnapshotError::Io { action: "list", path: floor.into(), source };
    let file = if is_committed { "committed.json" } else { "record.json" };
    for entry in fs::read_dir(floor).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let bytes = fs::read(path.join(file)).unwrap_or_default();
        let record: Option<Record> = serde_json::from_slice(&bytes).ok();
        let Some(record) = record else {
            // A power cut before the sync leaves no bytes, or zeros; anything else is damage.
            if is_committed && bytes.iter().any(|byte| *byte != 0) {
                return Err(SnapshotError::Damaged { path });
            }
            tracing::warn!(?path, "removed a snapshot without a record");
            discard(&path, trash).map_err(failed)?;
            continue;
        };
        let state = match (is_committed, record.is_view) {
            (true, _) => State::Committed,
            (false, true) => State::View,
            (false, false) => State::Active,
        };
        if state == State::Active && !path.join("work").exists() {
            fs::create_dir(path.join("work")).map_err(failed)?;
        }
        index.insert(record.name.clone(), Info { name: record.name, parent: record.parent, state });
    }
    Ok(())
}

fn remove_children(dir: &Path) -> Result<(), SnapshotError> {
    let failed = |source| SnapshotError::Io { action: "clean", path: dir.into(), source };
    for entry in fs::read_dir(dir).map_err(failed)? {
        remove_or_leave(&entry.map_err(failed)?.path());
    }
    Ok(())
}

/// Takes a snapshot out of its place, which another may need, and then removes it.
fn discard(path: &Path, trash: &Path) -> io::Result<()> {
    let free = |number: &u64| trash.join(format!("lost-{number}")).symlink_metadata().is_err();
    let number = (0..).find(free).unwrap_or_default();
    let away = trash.join(format!("lost-{number}"));
    fs::rename(path, &away)?;
    remove_or_leave(&away);
    Ok(())
}

/// What cannot be removed takes space, and is no reason not to start.
fn remove_or_leave(path: &Path) {
    if let Err(error) = remove_tree(path) {
        tracing::warn!(%error, ?path, "what is left of a snapshot cannot be removed");
    }
}
