//! The records' file, which is opened again after the disk has failed.
//!
//! redb gives up a file at the first read or write that fails: whatever is asked of it afterwards fails too, but for what
//! it has in memory, which may not be what the file says. So the file is closed then, and the next who asks opens it: what is
//! read is what is there, and a disk that was full for a moment costs what was asked in that moment, not a restart.

use crate::error::RegistryError;
use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard};
use redb::{Builder, Database, DatabaseError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Pages that are kept in memory; the kernel keeps more where there is room.
const CACHE_BYTES: usize = 64 << 20;

/// The file; closed after a failure.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    open: RwLock<Option<Open>>,
    openings: AtomicU64,
}

#[derive(Debug)]
struct Open {
    database: Database,
    /// Which opening this is: a failure of an earlier one closes no later one.
    number: u64,
}

impl File {
    /// Opens the file in `dir`, or makes it.
    pub(super) fn create(dir: &Path) -> Result<Self, RegistryError> {
        let path = dir.join("metadata.redb");
        let opened = Builder::new().set_cache_size(CACHE_BYTES).create(&path);
        let database = opened.map_err(|error| failed(&path, error))?;
        let open = RwLock::new(Some(Open { database, number: 0 }));
        Ok(Self { path, open, openings: AtomicU64::new(1) })
    }

    /// Lets `work` use the database; it must not ask for it again meanwhile.
    pub(super) fn with<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Database) -> Result<Result<T, RegistryError>, redb::Error>,
    ) -> Result<T, RegistryError> {
        let open = self.open()?;
        let (number, done) = (open.number, work(&open.database));
        drop(open);
        if done.as_ref().is_err_and(is_of_disk) {
            self.close(number);
        }
        done.map_err(RegistryError::metadata(action))?
    }

    fn open(&self) -> Result<MappedRwLockReadGuard<'_, Open>, RegistryError> {
        loop {
            if let Ok(open) = RwLockReadGuard::try_map(self.open.read(), Option::as_ref) {
                return Ok(open);
            }
            let mut open = self.open.write();
            if open.is_none() {
                // Never made anew: an empty file would be taken for a registry that has nothing.
                let opened = Builder::new().set_cache_size(CACHE_BYTES).open(&self.path);
                let database = opened.map_err(|error| failed(&self.path, error))?;
                let number = self.openings.fetch_add(1, Ordering::Relaxed);
                *open = Some(Open { database, number });
                tracing::info!(path = %self.path.display(), "opened the records again");
            }
        }
    }

    fn close(&self, number: u64) {
        let mut open = self.open.write();
        if open.as_ref().is_some_and(|open| open.number == number) {
            *open = None;
        }
    }
}

/// Whether the file has to be opened again.
fn is_of_disk(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo)
}

fn failed(path: &Path, error: DatabaseError) -> RegistryError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            RegistryError::InUse { dir: path.parent().unwrap_or(path).to_path_buf() }
        }
        other => RegistryError::metadata("open")(other),
    }
}
