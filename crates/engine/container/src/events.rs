//! The engine's one stream of events.

use crate::{Action, Event, Subject};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Events kept for a slow receiver before it lags.
const BACKLOG: usize = 4096;

#[derive(Clone, Debug)]
pub(crate) struct Events(broadcast::Sender<Arc<Event>>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.0.subscribe()
    }

    /// Tells everybody who listens; nobody listening is fine.
    pub(crate) fn emit(
        &self,
        subject: Subject,
        action: Action,
        name: &str,
        image: &str,
        labels: &BTreeMap<String, String>,
    ) {
        tracing::debug!(?subject, ?action, "event");
        if self.0.receiver_count() == 0 {
            return;
        }
        let _ = self.0.send(Arc::new(Event {
            at: Timestamp::now(),
            subject,
            action,
            name: name.to_owned(),
            image: image.to_owned(),
            labels: labels.clone(),
        }));
    }
}
