//! The log on redb: one table of records, one of named values.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::{
    CommitError, CursorError, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable,
    StorageError, TableDefinition, TableError, TransactionError,
};

use super::file::CommitFile;
use super::log::{Log, LogBatch, LogError, VisitRecord, VisitValue};

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
const VALUES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("values");
/// Everything is read once at start and then lives in memory: the database's cache only has to hold the path to
/// the newest leaf and what is being compacted.
const CACHE_BYTES: usize = 4 << 20;

struct Redb {
    database: Database,
    /// What the database is in.
    file: CommitFile,
    path: PathBuf,
    /// Whether the directory may still lead to the database before this one after a crash.
    is_unsettled: bool,
}

/// Records in one transaction while the database is written anew: what is changed by one lives in memory.
const REBUILD_STEP: usize = 16 << 10;

/// Opens the database of a directory.
pub fn open(dir: &Path) -> Result<Box<dyn Log>, LogError> {
    let path = dir.join("store.redb");
    // One that was not finished; the old one is whole.
    remove(&beside(&path))?;
    let (database, file) = create(&path)?;
    let mut log = Redb { database, file, path, is_unsettled: true };
    log.settle()?;
    Ok(Box::new(log))
}

fn create(path: &Path) -> Result<(Database, CommitFile), LogError> {
    let file = CommitFile::open(path)?;
    let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(file.clone())?;
    Ok((database, file))
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("redb.new")
}

fn remove(path: &Path) -> Result<(), LogError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

impl Redb {
    /// Makes the file's name as durable as what is in it.
    fn settle(&mut self) -> Result<(), LogError> {
        if self.is_unsettled {
            std::fs::File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
            self.is_unsettled = false;
        }
        Ok(())
    }

    /// The same content in a file of its own.
    fn write_anew(&self, path: &Path) -> Result<(Database, CommitFile), LogError> {
        remove(path)?;
        let (new, file) = create(path)?;
        self.copy_to(&new)?;
        std::fs::rename(path, &self.path)?;
        Ok((new, file))
    }

    /// Copies all records and values, the last with the disk's word for it.
    fn copy_to(&self, new: &Database) -> Result<(), LogError> {
        let old = self.database.begin_read()?;
        if let Some(records) = existing(old.open_table(RECORDS))? {
            let mut rows = records.iter()?.peekable();
            while rows.peek().is_some() {
                let mut transaction = new.begin_write()?;
                transaction
                    .set_durability(Durability::None)
                    .map_err(|error| LogError::Failed(error.to_string()))?;
                {
                    let mut table = transaction.open_table(RECORDS)?;
                    let mut end = table.upper_bound_mut(Bound::<u64>::Unbounded)?;
                    for row in rows.by_ref().take(REBUILD_STEP) {
                        let (revision, bytes) = row?;
                        end.insert_before(revision.value(), bytes.value())?;
                    }
                    end.close()?;
                }
                transaction.commit()?;
            }
        }
        let transaction = new.begin_write()?;
        {
            let mut table = transaction.open_table(VALUES)?;
            if let Some(values) = existing(old.open_table(VALUES))? {
                for row in values.iter()? {
                    let (name, bytes) = row?;
                    table.insert(name.value(), bytes.value())?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

impl Log for Redb {
    fn load(&self, record: VisitRecord<'_>, value: VisitValue<'_>) -> Result<(), LogError> {
        let transaction = self.database.begin_read()?;
        if let Some(table) = existing(transaction.open_table(VALUES))? {
            for row in table.iter()? {
                let (name, bytes) = row?;
                value(name.value(), bytes.value())?;
            }
        }
        if let Some(table) = existing(transaction.open_table(RECORDS))? {
            for row in table.iter()? {
                let (revision, bytes) = row?;
                record(revision.value(), bytes.value())?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: &LogBatch) -> Result<(), LogError> {
        self.settle()?;
        // A reader of what was before keeps redb from a second commit in memory, after this one, which only frees the
        // pages that this one replaces: the next does so beside its own work.
        let _before = self.database.begin_read()?;
        let mut transaction = self.database.begin_write()?;
        transaction
            .set_durability(Durability::Immediate)
            .map_err(|error| LogError::Failed(error.to_string()))?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            if let Some(from) = batch.truncate_from {
                records.retain_in(from.., |_, _| false)?;
            }
            if !batch.appends.is_empty() {
                // Through a cursor each page is made once, with all that goes into it, and not anew for each record.
                let mut end = records.upper_bound_mut(Bound::<u64>::Unbounded)?;
                for (revision, bytes) in &batch.appends {
                    end.insert_before(revision, &bytes[..])?;
                }
                end.close()?;
            }
            for revision in &batch.removes {
                records.remove(revision)?;
            }
        }
        if !batch.values.is_empty() {
            let mut values = transaction.open_table(VALUES)?;
            for (name, value) in &batch.values {
                match value {
                    Some(value) => values.insert(&name[..], &value[..])?,
                    None => values.remove(&name[..])?,
                };
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn rebuild(&mut self) -> Result<(), LogError> {
        let new = beside(&self.path);
        // The old file goes with its last descriptor.
        (self.database, self.file) = self.write_anew(&new).inspect_err(|_| {
            let _ = std::fs::remove_file(&new);
        })?;
        self.is_unsettled = true;
        self.settle()
    }

    fn prepare(&mut self) {
        // The file remembers.
        let _ = self.file.prepare();
    }

    fn disk_bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }
}

fn existing<T>(table: Result<T, TableError>) -> Result<Option<T>, LogError> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl From<StorageError> for LogError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => error.into(),
            StorageError::Corrupted(reason) => Self::Damaged(reason),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<DatabaseError> for LogError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<TransactionError> for LogError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<TableError> for LogError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<CommitError> for LogError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<CursorError> for LogError {
    fn from(error: CursorError) -> Self {
        match error {
            CursorError::Storage(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}
