//! Leases: what keeps blobs that no name reaches yet.
//!
//! A lease is one file, written before what it protects becomes visible, so that a crash at any point leaves
//! either a protected blob or none. A lease whose holder died ends at its expiry. Leases are not synced: they need
//! not outlive a power cut, as what they are for does not either.

use crate::error::ContentError;
use crate::store::ContentStore;
use hako_error::Result;
use hako_names::Digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A hold on blobs; dropping it lets go.
#[derive(Debug)]
pub struct Lease {
    store: ContentStore,
    id: String,
}

impl Lease {
    pub(crate) fn new(store: ContentStore, id: String) -> Self {
        Self { store, id }
    }

    /// The lease's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Protects a blob that exists; fails with `not found` when it is gone already.
    pub fn protect(&self, digest: Digest) -> Result<()> {
        let mut leases = self.store.inner.leases.lock();
        if !self.store.exists(digest) {
            return Err(ContentError::NotFound { digest }.into());
        }
        leases.protect(&self.id, digest)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.store.inner.leases.lock().release(&self.id);
    }
}

/// One lease as its file holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    expires_unix_s: u64,
    blobs: BTreeSet<Digest>,
}

/// The table of leases, in memory and as files.
#[derive(Debug)]
pub(crate) struct Leases {
    dir: PathBuf,
    records: HashMap<String, Record>,
    /// While a collection runs: what was protected or let go of since it began. A name may have come to point to
    /// such a blob after the collection asked for what is to be kept.
    touched: Option<HashSet<Digest>>,
    /// Let go of since a collection last looked. At most one a blob that was ever leased.
    loose: HashSet<Digest>,
}

impl Leases {
    /// Reads the leases of an earlier process; expired and unreadable ones go.
    pub(crate) fn open(dir: PathBuf) -> Result<Self> {
        let failed = |source| ContentError::Io { action: "read leases in", path: dir.clone(), source };
        fs::create_dir_all(&dir).map_err(failed)?;
        let mut records = HashMap::new();
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let record = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            let id =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
            match (id, record) {
                (Some(id), Some(record)) if record.expires_unix_s > now_unix_s() => {
                    records.insert(id.to_owned(), record);
                }
                _ => fs::remove_file(&path).map_err(failed)?,
            }
        }
        Ok(Self { dir, records, touched: None, loose: HashSet::new() })
    }

    /// From here on every blob that is protected or let go of survives, until [`Leases::end`]. Returns what was let go
    /// of before, in the same step: what is let go of later is spared now, and has to be looked at next time.
    pub(crate) fn begin(&mut self) -> HashSet<Digest> {
        self.touched = Some(HashSet::new());
        std::mem::take(&mut self.loose)
    }

    pub(crate) fn end(&mut self) {
        self.touched = None;
    }

    /// Has the next collection look at these.
    pub(crate) fn loosen(&mut self, blobs: impl IntoIterator<Item = Digest>) {
        self.loose.extend(blobs);
    }

    /// Whether a collection that runs may not delete the blob.
    pub(crate) fn spares(&mut self, digest: Digest) -> bool {
        self.touched.as_ref().is_some_and(|touched| touched.contains(&digest)) || self.protects(digest)
    }

    pub(crate) fn grant(&mut self, id: &str, expires_in: Duration) -> Result<()> {
        let is_safe = (1..=128).contains(&id.len())
            && !id.starts_with('.')
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if !is_safe {
            return Err(ContentError::LeaseId { id: id.into() }.into());
        }
        let mut record = match self.records.get(id) {
            Some(record) if record.expires_unix_s > now_unix_s() => record.clone(),
            _ => Record { expires_unix_s: 0, blobs: BTreeSet::new() },
        };
        record.expires_unix_s = now_unix_s().saturating_add(expires_in.as_secs().max(1));
        self.store(id, record)
    }

    pub(crate) fn protect(&mut self, id: &str, digest: Digest) -> Result<()> {
        if let Some(touched) = &mut self.touched {
            touched.insert(digest);
        }
        let Some(record) = self.records.get(id) else {
            return self.grant(id, Duration::from_secs(3600)).and_then(|()| self.protect(id, digest));
        };
        if record.blobs.contains(&digest) {
            return Ok(());
        }
        let mut record = record.clone();
        record.blobs.insert(digest);
        self.store(id, record)
    }

    pub(crate) fn release(&mut self, id: &str) {
        if let Some(released) = self.records.remove(id) {
            if let Some(touched) = &mut self.touched {
                touched.extend(&released.blobs);
            }
            self.loose.extend(released.blobs);
        }
        let _ = fs::remove_file(self.path(id));
    }

    pub(crate) fn release_all(&mut self, is_over: impl Fn(&str, &BTreeSet<Digest>) -> bool) {
        let over = self.records.iter().filter(|(id, record)| is_over(id, &record.blobs));
        let over: Vec<String> = over.map(|(id, _)| id.clone()).collect();
        for id in over {
            self.release(&id);
        }
    }

    /// Whether an unexpired lease holds the blob; expired ones are dropped on the way.
    pub(crate) fn protects(&mut self, digest: Digest) -> bool {
        let now = now_unix_s();
        let expired: Vec<String> = self
            .records
            .iter()
            .filter(|(_, record)| record.expires_unix_s <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in expired {
            self.release(&id);
        }
        self.records.values().any(|record| record.blobs.contains(&digest))
    }

    fn path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn store(&mut self, id: &str, record: Record) -> Result<()> {
        let (path, new) = (self.path(id), self.dir.join(format!(".{id}.new")));
        let what = "a lease";
        let write = || {
            fs::write(&new, serde_json::to_vec(&record).unwrap_or_default())?;
            fs::rename(&new, &path)
        };
        if let Err(error) = write() {
            let _ = fs::remove_file(&new);
            return Err(ContentError::io("write", &path, what)(error).into());
        }
        self.records.insert(id.to_owned(), record);
        Ok(())
    }
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
