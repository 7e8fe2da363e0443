//! Tells which kinds have more or fewer objects in which namespace: whoever watches all kinds says it here, so that
//! nobody else has to.

use hako_client::ResourceType;
use tokio::sync::broadcast;

/// News that a listener may be behind.
const BACKLOG: usize = 1024;

type News = (ResourceType, String);

/// Where news are told and heard. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Arrivals(broadcast::Sender<News>);

impl Arrivals {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }

    /// Objects of a kind came or went in a namespace.
    pub(crate) fn tell(&self, resource: &ResourceType, namespace: &str) {
        // Nobody may be listening.
        let _ = self.0.send((resource.clone(), namespace.to_owned()));
    }

    /// Hears what is told from now on.
    pub(crate) fn subscribe(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// Hears news.
pub(crate) struct Listener(broadcast::Receiver<News>);

impl Listener {
    /// The next news; `Some(None)` when some were missed, none at the end.
    pub(crate) async fn next(&mut self) -> Option<Option<News>> {
        match self.0.recv().await {
            Ok(news) => Some(Some(news)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(None),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
