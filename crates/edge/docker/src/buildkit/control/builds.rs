//! Builds by the reference that their client chose: what several calls find each other by.

use crate::buildkit::news::{self, Heard, Teller};
use hako_error::{Error, Kind, Result};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Builds at the same time.
const MOST: usize = 256;
/// How long a call waits for the build that it belongs to, and how long a build's news wait for their reader.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client's wish, as the gateway heard it.
pub(crate) type Attributes = BTreeMap<String, String>;

/// All builds of the control service.
#[derive(Debug, Default)]
pub(crate) struct Builds {
    known: Mutex<HashMap<String, Arc<Build>>>,
    changed: Notify,
}

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Build {
    news: Mutex<Option<Heard>>,
    /// What the client wants, once it said so on the gateway.
    said: Mutex<Option<Attributes>>,
    /// Who waits for the client to be done on the gateway.
    waiting: Mutex<Option<oneshot::Sender<Result<Attributes>>>>,
}

impl Build {
    /// The client's wish; the last one counts.
    pub(super) fn say(&self, attributes: Attributes) {
        *self.said.lock() = Some(attributes);
    }

    /// The client is done: it wants what it said, or gives up.
    pub(super) fn give_back(&self, failure: Option<Error>) {
        let wish = match (failure, self.said.lock().take()) {
            (Some(error), _) => Err(error),
            (None, Some(attributes)) => Ok(attributes),
            (None, None) => Err(Error::new(Kind::Invalid, "the client returned without a solve")),
        };
        if let Some(waiting) = self.waiting.lock().take() {
            let _ = waiting.send(wish);
        }
    }

    /// News, for the first who asks.
    pub(super) fn news(&self) -> Heard {
        self.news.lock().take().unwrap_or_else(|| news::channel().1)
    }
}

/// A build that goes on; its entry goes a while after it, so that a reader of its news that comes late finds them.
#[derive(Debug)]
pub(super) struct Begun {
    builds: Arc<Builds>,
    reference: String,
    pub(super) wish: oneshot::Receiver<Result<Attributes>>,
    pub(super) out: Option<Teller>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let (builds, reference) = (self.builds.clone(), std::mem::take(&mut self.reference));
        tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            builds.known.lock().remove(&reference);
        });
    }
}

impl Builds {
    pub(super) fn begin(self: &Arc<Self>, reference: &str) -> Result<Begun> {
        if reference.is_empty() || reference.len() > 256 {
            return Err(Error::new(Kind::Invalid, "a build needs a reference of 1 to 256 bytes"));
        }
        let (out, news) = news::channel();
        let (waiting, wish) = oneshot::channel();
        let build = Build {
            news: Mutex::new(Some(news)),
            waiting: Mutex::new(Some(waiting)),
            said: Mutex::default(),
        };
        let mut known = self.known.lock();
        if known.contains_key(reference) {
            return Err(Error::new(Kind::AlreadyExists, format!("the build {reference} exists already")));
        }
        if known.len() >= MOST {
            return Err(Error::new(Kind::Exhausted, format!("there are {MOST} builds already")));
        }
        known.insert(reference.to_owned(), Arc::new(build));
        drop(known);
        self.changed.notify_waiters();
        Ok(Begun { builds: self.clone(), reference: reference.to_owned(), wish, out: Some(out) })
    }

    /// The build of that reference; clients call beside `Solve`, not after it.
    pub(super) async fn find(&self, reference: &str) -> Result<Arc<Build>> {
        let found = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(build) = self.known.lock().get(reference) {
                    return build.clone();
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.map_err(|_| {
            let text = format!("no build {reference} within {} s", PATIENCE.as_secs());
            Error::new(Kind::NotFound, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_find_their_build_and_what_its_client_said() {
        let builds = Arc::new(Builds::default());
        let begin = async { builds.begin("a").unwrap() };
        let (found, begun) = tokio::join!(builds.find("a"), begin);
        let build = found.unwrap();
        assert_eq!(builds.begin("a").unwrap_err().kind(), Kind::AlreadyExists);
        build.say([("target".to_owned(), "x".to_owned())].into());
        build.give_back(None);
        let Begun { wish, .. } = &mut { begun };
        assert_eq!(wish.await.unwrap().unwrap()["target"], "x");
        assert_eq!(builds.find("b").await.unwrap_err().kind(), Kind::NotFound);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_gives_up_says_why() {
        let builds = Arc::new(Builds::default());
        let mut begun = builds.begin("a").unwrap();
        let build = builds.find("a").await.unwrap();
        build.give_back(Some(Error::new(Kind::Cancelled, "changed my mind")));
        let error = (&mut begun.wish).await.unwrap().unwrap_err();
        assert!(error.chain().contains("changed my mind"));
        drop(begun);
        tokio::time::sleep(PATIENCE * 2).await;
        assert!(builds.begin("a").is_ok());
    }
}
