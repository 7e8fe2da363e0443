//! Who is on the line, what is being uploaded and what is being built.

use super::control::Builds;
use super::session::Session;
use axum::body::Body;
use hako_error::{Error, Kind, Result};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

/// Sessions and uploads at the same time.
const MOST: usize = 256;
/// How long one side of a build waits for what the other side opens beside it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer ids are nobody's.
const LONGEST_ID: usize = 256;

/// What requests of one build find each other by.
#[derive(Debug, Default)]
pub(crate) struct Table {
    sessions: Shelf<Option<Arc<Session>>>,
    uploads: Shelf<Upload>,
    running: Mutex<HashMap<String, AbortHandle>>,
    /// Those of the control service.
    pub(super) builds: Arc<Builds>,
}

/// A context on its way, and who hears that it was taken.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) body: Body,
    pub(crate) taken: oneshot::Sender<()>,
}

/// Things by id, and who waits for them.
#[derive(Debug)]
struct Shelf<T> {
    things: Mutex<HashMap<String, T>>,
    changed: Notify,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { things: Mutex::default(), changed: Notify::new() }
    }
}

impl<T> Shelf<T> {
    fn put(&self, what: &str, id: &str, thing: T) -> Result<()> {
        if id.is_empty() || id.len() > LONGEST_ID {
            return Err(Error::new(Kind::Invalid, format!("{what} needs an id of 1 to {LONGEST_ID} bytes")));
        }
        let mut things = self.things.lock();
        if things.contains_key(id) {
            return Err(Error::new(Kind::Conflict, format!("{what} {id} already exists")));
        }
        if things.len() >= MOST {
            return Err(Error::new(Kind::Exhausted, format!("there are {MOST} {what}s already, try later")));
        }
        things.insert(id.to_owned(), thing);
        drop(things);
        self.changed.notify_waiters();
        Ok(())
    }

    /// What `find` gives, as soon as it gives something.
    async fn wait<R>(
        &self,
        what: &str,
        id: &str,
        find: impl Fn(&mut HashMap<String, T>) -> Option<R>,
    ) -> Result<R> {
        let found = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                // Before the look: a change right after it is heard.
                changed.as_mut().enable();
                if let Some(found) = find(&mut self.things.lock()) {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.map_err(|_| {
            let text = format!("no {what} {id} within {} s", PATIENCE.as_secs());
            Error::new(Kind::FailedPrecondition, text)
        })
    }
}

/// A session's place; free when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    table: Arc<Table>,
    id: String,
}

impl Place {
    /// The client is on the line.
    pub(crate) fn fill(&self, session: Session) {
        self.table.sessions.things.lock().insert(self.id.clone(), Some(Arc::new(session)));
        self.table.sessions.changed.notify_waiters();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.sessions.things.lock().remove(&self.id);
    }
}

impl Table {
    /// A place for the session of that id.
    pub(crate) fn admit(self: &Arc<Self>, id: &str) -> Result<Place> {
        self.sessions.put("session", id, None)?;
        Ok(Place { table: self.clone(), id: id.to_owned() })
    }

    /// The session of that id; clients open it beside the build.
    pub(crate) async fn session(&self, id: &str) -> Result<Arc<Session>> {
        self.sessions.wait("session", id, |things| things.get(id)?.clone()).await
    }

    /// Offers a context until its build takes it.
    pub(crate) async fn offer(&self, id: &str, body: Body) -> Result<()> {
        let (taken, heard) = oneshot::channel();
        self.uploads.put("upload", id, Upload { body, taken })?;
        match tokio::time::timeout(PATIENCE, heard).await {
            // The build is done with it, or failed: either way it is over.
            Ok(_) => Ok(()),
            Err(_) if self.uploads.things.lock().remove(id).is_none() => Ok(()),
            Err(_) => Err(Error::new(Kind::FailedPrecondition, format!("no build asks for the upload {id}"))),
        }
    }

    /// The context that was uploaded for the build of that id.
    pub(crate) async fn uploaded(&self, id: &str) -> Result<Upload> {
        self.uploads.wait("upload", id, |things| things.remove(id)).await
    }

    /// Lets the build be cancelled by its id; its place is free when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, id: &str, handle: AbortHandle) -> Running {
        self.running.lock().insert(id.to_owned(), handle);
        Running { table: self.clone(), id: id.to_owned() }
    }

    /// Ends the build of that id, if there is one.
    pub(crate) fn cancel(&self, id: &str) -> bool {
        self.running.lock().get(id).inspect(|handle| handle.abort()).is_some()
    }
}

/// A build that can be cancelled.
#[derive(Debug)]
pub(crate) struct Running {
    table: Arc<Table>,
    id: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.table.running.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ids_are_taken_once_and_nobody_waits_for_ever() {
        let table = Arc::new(Table::default());
        let place = table.admit("a").unwrap();
        assert_eq!(table.admit("a").unwrap_err().kind(), Kind::Conflict);
        assert_eq!(table.admit("").unwrap_err().kind(), Kind::Invalid);
        // Admitted is not yet on the line.
        assert_eq!(table.session("a").await.unwrap_err().kind(), Kind::FailedPrecondition);
        drop(place);
        let _places: Vec<Place> = (0..MOST).map(|n| table.admit(&n.to_string()).unwrap()).collect();
        assert_eq!(table.admit("one more").unwrap_err().kind(), Kind::Exhausted);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_and_its_build_find_each_other_in_either_order() {
        let table = Arc::new(Table::default());
        let (offered, taken) = tokio::join!(table.offer("x", Body::empty()), table.uploaded("x"));
        assert!(offered.is_ok() && taken.is_ok());
        let (taken, offered) = tokio::join!(table.uploaded("y"), table.offer("y", Body::empty()));
        assert!(offered.is_ok() && taken.is_ok());
        assert_eq!(table.offer("z", Body::empty()).await.unwrap_err().kind(), Kind::FailedPrecondition);
        assert_eq!(table.uploaded("z").await.map(drop).unwrap_err().kind(), Kind::FailedPrecondition);
    }
}
