//! The store's log on SQLite: a write-ahead log with one `fdatasync` per commit.

use std::path::Path;

use hako_store::log::{Log, LogBatch, LogError, VisitRecord, VisitValue};
use rusqlite::{Connection, Error, ErrorCode, params};

struct Sqlite(Connection);

pub fn open(dir: &Path) -> Result<Box<dyn Log>, LogError> {
    let connection = Connection::open(dir.join("store.sqlite")).map_err(failed)?;
    let setup = "PRAGMA page_size=4096; PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;
         PRAGMA synchronous=FULL; PRAGMA cache_size=-4096; PRAGMA wal_autocheckpoint=4000;
         CREATE TABLE IF NOT EXISTS records (revision INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
         CREATE TABLE IF NOT EXISTS named (name BLOB PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;";
    connection.execute_batch(setup).map_err(failed)?;
    Ok(Box::new(Sqlite(connection)))
}

fn failed(error: Error) -> LogError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => LogError::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LogError::InUse,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => LogError::Damaged(error.to_string()),
        _ => LogError::Failed(error.to_string()),
    }
}

fn integer(revision: u64) -> Result<i64, LogError> {
    i64::try_from(revision).map_err(|_| LogError::Failed("revisions ran out".into()))
}

impl Sqlite {
    fn try_commit(&mut self, batch: &LogBatch) -> Result<(), LogError> {
        let transaction = self.0.transaction().map_err(failed)?;
        if let Some(from) = batch.truncate_from {
            transaction
                .execute("DELETE FROM records WHERE revision >= ?1", [integer(from)?])
                .map_err(failed)?;
        }
        {
            let prepare = |sql| transaction.prepare_cached(sql).map_err(failed);
            let mut insert = prepare("INSERT INTO records VALUES (?1, ?2)")?;
            for (revision, bytes) in &batch.appends {
                insert.execute(params![integer(*revision)?, &bytes[..]]).map_err(failed)?;
            }
            let mut remove = prepare("DELETE FROM records WHERE revision = ?1")?;
            for revision in &batch.removes {
                remove.execute([integer(*revision)?]).map_err(failed)?;
            }
            let mut set = prepare("INSERT OR REPLACE INTO named VALUES (?1, ?2)")?;
            let mut unset = prepare("DELETE FROM named WHERE name = ?1")?;
            for (name, value) in &batch.values {
                match value {
                    Some(value) => set.execute(params![name, value]),
                    None => unset.execute(params![name]),
                }
                .map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)
    }
}

impl Log for Sqlite {
    fn load(&self, record: VisitRecord<'_>, value: VisitValue<'_>) -> Result<(), LogError> {
        let mut query = self.0.prepare("SELECT name, bytes FROM named").map_err(failed)?;
        let mut rows = query.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let (name, bytes) = (row.get_ref(0).map_err(failed)?, row.get_ref(1).map_err(failed)?);
            value(name.as_blob().unwrap_or_default(), bytes.as_blob().unwrap_or_default())?;
        }
        let mut query =
            self.0.prepare("SELECT revision, bytes FROM records ORDER BY revision").map_err(failed)?;
        let mut rows = query.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let revision: i64 = row.get(0).map_err(failed)?;
            let bytes = row.get_ref(1).map_err(failed)?;
            record(revision.cast_unsigned(), bytes.as_blob().unwrap_or_default())?;
        }
        Ok(())
    }

    fn commit(&mut self, batch: &LogBatch) -> Result<(), LogError> {
        self.try_commit(batch)
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}
