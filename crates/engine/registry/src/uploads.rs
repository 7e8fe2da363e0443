//! Uploads under way.
//!
//! Sessions live in memory: an upload that was cut by the registry's own end is started again by the client, which is
//! what clients do with `BLOB_UPLOAD_UNKNOWN`.

use crate::blobs::BlobUpload;
use crate::error::RegistryError;
use crate::name::Repository;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    sessions: Mutex<HashMap<String, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    repository: Repository,
    touched: Instant,
    session: Arc<AsyncMutex<Session>>,
}

/// One session; whoever holds its lock writes.
#[derive(Debug)]
pub(crate) struct Session {
    /// `None` when it was committed or failed.
    pub upload: Option<Box<dyn BlobUpload>>,
}

impl Uploads {
    /// Adds a session, if there are fewer than `limit`.
    pub(crate) fn add(
        &self,
        repository: &Repository,
        upload: Box<dyn BlobUpload>,
        limit: usize,
    ) -> Result<String, RegistryError> {
        let id = uuid::Uuid::new_v4().to_string();
        let mut sessions = self.sessions.lock();
        if sessions.len() >= limit {
            let what = format!("{limit} uploads are under way; come again");
            return Err(RegistryError::TooMany { what, retry_after: Duration::from_secs(5) });
        }
        let session = Arc::new(AsyncMutex::new(Session { upload: Some(upload) }));
        let entry = Entry { repository: repository.clone(), touched: Instant::now(), session };
        sessions.insert(id.clone(), entry);
        Ok(id)
    }

    /// Takes a session's lock; a session that somebody else writes to is refused.
    pub(crate) fn lock(
        &self,
        repository: &Repository,
        id: &str,
    ) -> Result<OwnedMutexGuard<Session>, RegistryError> {
        let mut sessions = self.sessions.lock();
        let entry = sessions
            .get_mut(id)
            .filter(|entry| entry.repository == *repository)
            .ok_or_else(|| RegistryError::UploadUnknown { id: id.to_owned() })?;
        entry.touched = Instant::now();
        Arc::clone(&entry.session).try_lock_owned().map_err(|_| RegistryError::UploadInvalid {
            id: id.to_owned(),
            problem: "another request is writing to it".into(),
        })
    }

    /// Ends a session.
    pub(crate) fn remove(&self, repository: &Repository, id: &str) -> Result<(), RegistryError> {
        let mut sessions = self.sessions.lock();
        match sessions.get(id) {
            Some(entry) if entry.repository == *repository => {
                sessions.remove(id);
                Ok(())
            }
            _ => Err(RegistryError::UploadUnknown { id: id.to_owned() }),
        }
    }

    /// Ends the sessions that nobody wrote to for `idle`.
    pub(crate) fn expire(&self, idle: Duration) -> usize {
        let mut sessions = self.sessions.lock();
        let before = sessions.len();
        sessions.retain(|_, entry| entry.touched.elapsed() < idle || entry.session.try_lock().is_err());
        before - sessions.len()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.sessions.lock().len()
    }
}
