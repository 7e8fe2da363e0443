//! Directories that outlive builds: `RUN --mount=type=cache`.
//!
//! ```text
//! DIR/<digest of the id>-<n>/record.json    the id
//! DIR/<digest of the id>-<n>/data/          what steps see
//! ```
//! `shared` and `locked` use number 0; `private` takes the first that nobody uses. One process owns the
//! directory, so that who uses what is known in memory and a crash leaves no lock behind.

use crate::error::BuildError;
use crate::shared::Cancel;
use hako_error::Result;
use hako_names::Digest;
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::dockerfile::Sharing;

/// How often a waiting step looks whether its build was cancelled.
const LOOK: Duration = Duration::from_millis(50);

/// All caches of a builder. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Caches {
    dir: PathBuf,
    users: Arc<(Mutex<HashMap<PathBuf, Users>>, Condvar)>,
}

/// Who uses one directory.
#[derive(Debug, Default)]
struct Users {
    count: usize,
    is_alone: bool,
}

/// A directory in use; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    caches: Caches,
    path: PathBuf,
    /// Whether it was made just now.
    pub is_new: bool,
}

#[derive(Serialize, Deserialize)]
struct Record {
    id: String,
}

impl Caches {
    pub(crate) fn open(dir: PathBuf) -> Result<Self, BuildError> {
        fs::create_dir_all(&dir).map_err(BuildError::io("create", &dir))?;
        Ok(Self { dir, users: Arc::default() })
    }

    /// Takes the cache `id`, waiting where others use it in a way that does not go together with `sharing`.
    pub(crate) fn hold(&self, id: &str, sharing: Sharing, cancel: &Cancel) -> Result<Held> {
        let (users, changed) = &*self.users;
        let mut users = users.lock();
        let path = loop {
            if let Some(path) = self.free(&users, id, sharing) {
                break path;
            }
            changed.wait_for(&mut users, LOOK);
            cancel.check()?;
        };
        let entry = users.entry(path.clone()).or_default();
        entry.count += 1;
        entry.is_alone = sharing != Sharing::Shared;
        let data = path.join("data");
        let is_new = !data.exists();
        let held = Held { caches: self.clone(), path, is_new };
        drop(users);
        if is_new {
            held.make(id)?;
        }
        Ok(held)
    }

    /// Whether there is a cache of that id, of those that steps share.
    pub(crate) fn exists(&self, id: &str) -> bool {
        self.path(id, 0).join("data").exists()
    }

    fn path(&self, id: &str, number: usize) -> PathBuf {
        let name = Digest::of(id.as_bytes()).hex();
        self.dir.join(format!("{}-{number}", &name[..32]))
    }

    /// The directory that may be used now.
    fn free(&self, users: &HashMap<PathBuf, Users>, id: &str, sharing: Sharing) -> Option<PathBuf> {
        let path = |number: usize| self.path(id, number);
        let of = |path: &Path| users.get(path).map_or((0, false), |users| (users.count, users.is_alone));
        match sharing {
            Sharing::Shared => Some(path(0)).filter(|path| !of(path).1),
            Sharing::Locked => Some(path(0)).filter(|path| of(path).0 == 0),
            Sharing::Private => (0..).map(path).find(|path| of(path).0 == 0),
        }
    }

    /// Removes every cache that no step uses.
    pub(crate) fn clear(&self) -> Result<(), BuildError> {
        let users = self.users.0.lock();
        for entry in fs::read_dir(&self.dir).map_err(BuildError::io("list", &self.dir))?.flatten() {
            let path = entry.path();
            if users.get(&path).is_none_or(|users| users.count == 0) {
                hako_snapshot::remove_tree(&path).map_err(BuildError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

impl Held {
    /// The directory that the step sees.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    fn make(&self, id: &str) -> Result<(), BuildError> {
        let data = self.data();
        fs::create_dir_all(&data).map_err(BuildError::io("create", &data))?;
        let record = serde_json::to_vec(&Record { id: id.to_owned() }).unwrap_or_default();
        let path = self.path.join("record.json");
        fs::write(&path, record).map_err(BuildError::io("write", path))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (users, changed) = &*self.caches.users;
        let mut users = users.lock();
        if let Some(entry) = users.get_mut(&self.path) {
            entry.count -= 1;
            if entry.count == 0 {
                users.remove(&self.path);
            }
        }
        changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caches() -> (tempfile::TempDir, Caches) {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::open(dir.path().join("caches")).unwrap();
        (dir, caches)
    }

    #[test]
    fn private_ones_are_apart_and_shared_ones_are_not() {
        let (_dir, caches) = caches();
        let cancel = Cancel::default();
        let hold = |sharing| caches.hold("id", sharing, &cancel).unwrap();
        let (a, b) = (hold(Sharing::Shared), hold(Sharing::Shared));
        assert_eq!(a.data(), b.data());
        assert!(a.is_new && !b.is_new);
        let (c, d) = (hold(Sharing::Private), hold(Sharing::Private));
        assert!(c.data() != a.data() && c.data() != d.data());
        drop((a, b, c, d));
        let first = hold(Sharing::Private).data();
        assert_eq!(hold(Sharing::Locked).data(), first);
    }

    #[test]
    fn a_locked_one_is_waited_for() {
        let (_dir, caches) = caches();
        let cancel = Arc::new(Cancel::default());
        let held = caches.hold("id", Sharing::Locked, &cancel).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for sharing in [Sharing::Locked, Sharing::Shared] {
                let (caches, cancel, sender) = (caches.clone(), cancel.clone(), sender.clone());
                scope.spawn(move || sender.send(caches.hold("id", sharing, &cancel).is_ok()).unwrap());
            }
            assert!(receiver.recv_timeout(LOOK * 2).is_err(), "nobody gets what is locked");
            drop(held);
            assert!(receiver.recv().unwrap() && receiver.recv().unwrap());
        });
    }

    #[test]
    fn waiting_ends_with_the_build() {
        let (_dir, caches) = caches();
        let cancel = Arc::new(Cancel::default());
        let _held = caches.hold("id", Sharing::Locked, &cancel).unwrap();
        cancel.cancel();
        assert!(caches.hold("id", Sharing::Locked, &cancel).is_err());
    }
}
