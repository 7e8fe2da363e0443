//! The store's log on fjall: two keyspaces, one batch with `fdatasync` per commit.

use std::path::Path;

use fjall::{Database, Error, Keyspace, KeyspaceCreateOptions, PersistMode};
use hako_store::log::{Log, LogBatch, LogError, VisitRecord, VisitValue};

/// Small write buffers: the entries live in the store's memory already.
const MEMTABLE_BYTES: u64 = 8 << 20;

struct Fjall {
    database: Database,
    records: Keyspace,
    values: Keyspace,
}

pub fn open(dir: &Path) -> Result<Box<dyn Log>, LogError> {
    let database = Database::builder(dir.join("fjall")).cache_size(4 << 20).open().map_err(failed)?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
    let records = database.keyspace("records", options).map_err(failed)?;
    let values = database.keyspace("values", options).map_err(failed)?;
    Ok(Box::new(Fjall { database, records, values }))
}

fn failed(error: Error) -> LogError {
    match error {
        Error::Io(error) => error.into(),
        Error::Locked => LogError::InUse,
        other => LogError::Failed(other.to_string()),
    }
}

impl Log for Fjall {
    fn load(&self, record: VisitRecord<'_>, value: VisitValue<'_>) -> Result<(), LogError> {
        for row in self.values.iter() {
            let (name, bytes) = row.into_inner().map_err(failed)?;
            value(&name, &bytes)?;
        }
        for row in self.records.iter() {
            let (key, bytes) = row.into_inner().map_err(failed)?;
            let revision =
                key[..].try_into().map_err(|_| LogError::Damaged("a key is no revision".into()))?;
            record(u64::from_be_bytes(revision), &bytes)?;
        }
        Ok(())
    }

    fn commit(&mut self, batch: &LogBatch) -> Result<(), LogError> {
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncData));
        if let Some(from) = batch.truncate_from {
            for row in self.records.range(from.to_be_bytes()..) {
                writes.remove(&self.records, row.key().map_err(failed)?);
            }
        }
        for (revision, bytes) in &batch.appends {
            writes.insert(&self.records, revision.to_be_bytes(), &bytes[..]);
        }
        for revision in &batch.removes {
            writes.remove(&self.records, revision.to_be_bytes());
        }
        for (name, value) in &batch.values {
            match value {
                Some(value) => writes.insert(&self.values, &name[..], &value[..]),
                None => writes.remove(&self.values, &name[..]),
            }
        }
        writes.commit().map_err(failed)
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}
