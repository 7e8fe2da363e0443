//! A database from a snapshot.

use std::path::Path;

use super::database;
use super::load::{FORMAT, VALUE_COMPACTED, VALUE_FORMAT, VALUE_LAST_LEASE, lease_value};
use super::log::{Log, LogBatch, LogError};
use super::record;
use crate::error::{Result, StoreError};
use crate::snapshot::{Part, SnapshotError};
use crate::types::{EventKind, Revision};

/// Between the last revision of a snapshot and the first of what is restored from it. What was written after the
/// snapshot is lost, and its revisions must not come again: a client that remembers one has to be told to list again.
pub const REVISION_GAP: u64 = 1_000_000_000;

const STEP: usize = 4096;

/// Makes the database of a directory, which has none, from the parts of a snapshot; answers the revision that it
/// begins at. What is left of an attempt that failed is to be removed.
///
/// # Errors
/// The parts' own, and those of the disk, as [`StoreError`].
pub fn restore(
    dir: &Path,
    parts: impl Iterator<Item = Result<Part, SnapshotError>>,
) -> Result<Revision, SnapshotError> {
    std::fs::create_dir_all(dir).map_err(|error| on_disk(dir, error.into()))?;
    let mut log = database::open(dir).map_err(|error| on_disk(dir, error))?;
    let mut batch = LogBatch::default();
    let mut begin = Revision::ZERO;
    let mut last_lease = 0;
    for part in parts {
        match part? {
            Part::Start { revision, .. } => begin = Revision(revision.0 + REVISION_GAP),
            Part::Lease(lease) => {
                last_lease = last_lease.max(lease.id.0);
                let ttl_ms = u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX);
                batch.values.push((lease_value(lease.id), Some(ttl_ms.to_be_bytes().to_vec())));
            }
            Part::Entry(entry) => {
                let (bytes, _) = record::encode(
                    EventKind::Put,
                    &entry.key,
                    &entry.value,
                    entry.created,
                    entry.modified,
                    entry.lease,
                    0,
                );
                batch.appends.push((entry.modified.0, bytes));
            }
        }
        if batch.appends.len() == STEP {
            commit(dir, log.as_mut(), &mut batch)?;
        }
    }
    for (name, value) in [(VALUE_FORMAT, FORMAT), (VALUE_COMPACTED, begin.0), (VALUE_LAST_LEASE, last_lease)]
    {
        batch.values.push((name.to_vec(), Some(value.to_be_bytes().to_vec())));
    }
    commit(dir, log.as_mut(), &mut batch)?;
    Ok(begin)
}

fn commit(dir: &Path, log: &mut dyn Log, batch: &mut LogBatch) -> Result<(), SnapshotError> {
    log.commit(batch).map_err(|error| on_disk(dir, error))?;
    *batch = LogBatch::default();
    Ok(())
}

fn on_disk(dir: &Path, error: LogError) -> SnapshotError {
    let path = dir.to_owned();
    SnapshotError::Store(match error {
        LogError::Full => StoreError::DiskFull { path },
        LogError::InUse => StoreError::InUse { path },
        LogError::Damaged(reason) => StoreError::Damaged { path, reason: reason.into() },
        LogError::Failed(reason) => StoreError::Disk { path, reason: reason.into() },
    })
}
