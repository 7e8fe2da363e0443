//! Uploads under way.
//!
//! Sessions live in memory: an upload that was cut by the registry's own end is started again by the client, which is
//! what clients do with `BLOB_UPLOAD_UNKNOWN`.

use crate::blobs::BlobUpload;
use crate::error::RegistryError;
use crate::name::Repository;
use crate::registry::Limits;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
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
    owner: Owner,
    touched: Instant,
    /// What came, and what a request announced that is being read.
    bytes: u64,
    session: Arc<AsyncMutex<Session>>,
}

/// Whose place an upload takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A user who proved the name.
    User(String),
    /// All others who push to a repository.
    Repository(Repository),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user {name}"),
            Self::Repository(name) => write!(f, "repository {name}"),
        }
    }
}

/// What bounds the bytes of one upload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// What the repository may have.
    pub quota_bytes: u64,
    /// What it has.
    pub used_bytes: u64,
    /// How large the upload's blob is, if the repository has it already: it will not be counted twice.
    pub known_bytes: u64,
}

/// One session; whoever holds its lock writes.
#[derive(Debug)]
pub(crate) struct Session {
    /// `None` when it was committed or failed.
    pub upload: Option<Box<dyn BlobUpload>>,
}

impl Uploads {
    /// Refuses when there is no place for one more session of `owner`.
    pub(crate) fn admit(&self, owner: &Owner, limits: &Limits) -> Result<(), RegistryError> {
        admit(&self.sessions.lock(), owner, limits)
    }

    /// Adds a session, if there is a place for it.
    pub(crate) fn add(
        &self,
        repository: &Repository,
        owner: Owner,
        upload: Box<dyn BlobUpload>,
        limits: &Limits,
    ) -> Result<String, RegistryError> {
        let id = uuid::Uuid::new_v4().to_string();
        let mut sessions = self.sessions.lock();
        admit(&sessions, &owner, limits)?;
        let session = Arc::new(AsyncMutex::new(Session { upload: Some(upload) }));
        let (repository, touched) = (repository.clone(), Instant::now());
        sessions.insert(id.clone(), Entry { repository, owner, touched, bytes: 0, session });
        Ok(id)
    }

    /// Lets a session have `bytes` in all; refuses if the repository, with all its sessions, would have more than it may.
    pub(crate) fn reserve(
        &self,
        repository: &Repository,
        id: &str,
        bytes: u64,
        room: Room,
    ) -> Result<(), RegistryError> {
        let mut sessions = self.sessions.lock();
        let others = sessions
            .iter()
            .filter(|(other, entry)| other.as_str() != id && entry.repository == *repository)
            .fold(0_u64, |sum, (_, entry)| sum.saturating_add(entry.bytes));
        let entry = sessions
            .get_mut(id)
            .filter(|entry| entry.repository == *repository)
            .ok_or_else(|| RegistryError::UploadUnknown { id: id.to_owned() })?;
        let Room { quota_bytes, used_bytes, known_bytes } = room;
        let sum = used_bytes.saturating_add(others).saturating_add(bytes);
        if bytes > known_bytes && sum > quota_bytes {
            let problem = format!(
                "repository {repository} may have {quota_bytes} bytes; it has {used_bytes}, its other uploads under way have {others}, and this one would have {bytes}"
            );
            return Err(RegistryError::Denied { problem });
        }
        entry.bytes = entry.bytes.max(bytes);
        Ok(())
    }

    /// After a request: a session has what came, whatever was announced.
    pub(crate) fn settle(&self, id: &str, bytes: u64) {
        if let Some(entry) = self.sessions.lock().get_mut(id) {
            entry.bytes = bytes;
        }
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

fn admit(sessions: &HashMap<String, Entry>, owner: &Owner, limits: &Limits) -> Result<(), RegistryError> {
    let retry_after = Duration::from_secs(5);
    if sessions.len() >= limits.uploads {
        let what = format!("{} uploads are under way; come again", limits.uploads);
        return Err(RegistryError::TooMany { what, retry_after });
    }
    let own = sessions.values().filter(|entry| entry.owner == *owner).count();
    if own >= limits.uploads_each {
        let what = format!("{owner} has {own} uploads under way; end one, or come again");
        return Err(RegistryError::TooMany { what, retry_after });
    }
    Ok(())
}
