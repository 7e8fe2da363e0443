//! The database below the store, reduced to what the store asks of it: records by revision, a few named values,
//! and batches that are durable as a whole or not at all.
//!
//! Owns: the [`Log`] trait. Does not own: what records mean (see `record`). Which database stands behind it is
//! one decision with its own measurements (docs/decisions/0001-embedded-store.md); the benchmark plugs the others
//! in here.

use std::path::Path;

/// Is shown a record: its revision and its bytes.
pub type VisitRecord<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<(), LogError>;
/// Is shown a named value.
pub type VisitValue<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), LogError>;

/// Records by revision and named values, changed by atomic durable batches.
pub trait Log: Send {
    /// Visits every named value, then every record in the order of revisions.
    ///
    /// # Errors
    /// Whatever the database says, or the first error of a visitor.
    fn load(&self, record: VisitRecord<'_>, value: VisitValue<'_>) -> Result<(), LogError>;

    /// Makes a batch durable as a whole. After an error the log is dropped and opened again; whether the batch
    /// is in it by then is open, so the store repairs that with [`LogBatch::truncate_from`].
    ///
    /// # Errors
    /// Whatever the database says.
    fn commit(&mut self, batch: &LogBatch) -> Result<(), LogError>;

    /// Writes everything anew, so that no freed space is left, nor what was in it. At every moment the directory has
    /// the old database or the new one. After an error the old one goes on.
    ///
    /// # Errors
    /// Whatever the database says, or that it cannot.
    fn rebuild(&mut self) -> Result<(), LogError> {
        Err(LogError::Failed("this database cannot be written anew".to_owned()))
    }

    /// Does what would hold up a later commit. Asked for when nobody waits; what fails here fails the next commit.
    fn prepare(&mut self) {}

    /// Bytes on disk.
    fn disk_bytes(&self) -> u64;
}

/// Opens the log of a directory that exists, making it if it is missing.
pub type Opener = Box<dyn Fn(&Path) -> Result<Box<dyn Log>, LogError> + Send>;

/// Changes that happen together, in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    /// Removes this record and all newer ones.
    pub truncate_from: Option<u64>,
    /// Records to add, in the order of revisions, all newer than any before.
    pub appends: Vec<(u64, bytes::Bytes)>,
    /// Records to remove; one that is not there is no error.
    pub removes: Vec<u64>,
    /// Named values to set, or to remove.
    pub values: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl LogBatch {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.truncate_from.is_none()
            && self.appends.is_empty()
            && self.removes.is_empty()
            && self.values.is_empty()
    }
}

/// What a database can say.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// No space is left on the disk.
    #[error("no space left on the disk")]
    Full,
    /// Another process holds the database.
    #[error("in use by another process")]
    InUse,
    /// What is on the disk is not what was stored.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Anything else the disk or the database says.
    #[error("{0}")]
    Failed(String),
}

impl From<std::io::Error> for LogError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Failed(error.to_string()),
        }
    }
}
