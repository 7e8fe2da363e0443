//! What watches read: all events below our root in order, from a revision on.

use std::sync::Arc;

use etcd_client::{Client, GetOptions, WatchOptions, WatchStream};

use super::convert::{self, Layout, Refusal, revision};
use crate::error::{Result, StoreError};
use crate::types::{Event, Revision};

/// What etcd may tell at once: it puts together as many events as there are.
const MAX_EVENTS_BYTES: usize = 1 << 30;

/// A cluster that watches are opened on.
#[derive(Clone)]
pub struct Source {
    client: Client,
    layout: Layout,
    refusal: Refusal,
}

impl Source {
    pub fn new(client: Client, layout: Layout, refusal: Refusal) -> Self {
        Self { client, layout, refusal }
    }

    /// The newest revision, agreed on by the cluster.
    pub async fn revision(&self) -> Result<Revision> {
        let count = Some(GetOptions::new().with_count_only());
        let answer = self.client.kv_client().get(self.layout.fence(), count).await;
        Ok(revision(answer.map_err(|error| self.refusal.of("ask for the revision", error))?.header()))
    }

    /// Whether all after a revision can still be had.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] and [`StoreError::FutureRevision`] if not.
    pub async fn check(&self, after: Revision) -> Result<()> {
        let at = after.max(Revision(1));
        let options = GetOptions::new().with_count_only().with_revision(convert::number(at));
        let Err(error) = self.client.kv_client().get(self.layout.fence(), Some(options)).await else {
            return Ok(());
        };
        if self.refusal.is_compacted(&error) {
            return Err(StoreError::Compacted { requested: after, compacted: self.told_compacted().await? });
        }
        if self.refusal.is_future(&error) && after > Revision::ZERO {
            return Err(StoreError::FutureRevision { requested: after, current: self.revision().await? });
        }
        Err(self.refusal.of("ask for history", error))
    }

    /// Forgets the history up to a revision, if it is still there.
    pub async fn compact(&self, to: Revision) -> Result<()> {
        match self.client.kv_client().compact(convert::number(to), None).await {
            Err(error) if !self.refusal.is_compacted(&error) => Err(self.refusal.of("compact", error)),
            _ => Ok(()),
        }
    }

    /// The newest revision whose history is gone.
    pub async fn compacted(&self) -> Result<Revision> {
        match self.check(Revision::ZERO).await {
            Ok(()) => Ok(Revision::ZERO),
            Err(StoreError::Compacted { compacted, .. }) => Ok(compacted),
            Err(error) => Err(error),
        }
    }

    /// The same where some is gone: etcd tells it to a watch that asks for too much, and to nobody else.
    async fn told_compacted(&self) -> Result<Revision> {
        let refused = |error| self.refusal.of("ask for the compacted revision", error);
        let options = Some(WatchOptions::new().with_start_revision(1));
        let mut watch =
            self.client.watch_client().watch(self.layout.fence(), options).await.map_err(refused)?;
        while let Some(answer) = watch.message().await.map_err(refused)? {
            if answer.canceled() {
                return Ok(convert::from(answer.compact_revision()));
            }
        }
        Err(self.refusal.ended())
    }

    /// Has an event of its own below our root, newer than all before.
    pub async fn fence(&self) -> Result<()> {
        let put = self.client.kv_client().put(self.layout.fence(), Vec::new(), None).await;
        put.map(drop).map_err(|error| self.refusal.of("write", error))
    }

    /// Every event below our root after a revision.
    pub async fn follow(&self, after: Revision) -> Result<Feed> {
        // From that revision itself: only then does etcd say that its event, compacted, is gone.
        let start = convert::number(after.max(Revision(1)));
        let options = WatchOptions::new().with_prefix().with_prev_key().with_start_revision(start);
        let mut client = self.client.watch_client().max_decoding_message_size(MAX_EVENTS_BYTES);
        let watch = client.watch(self.layout.root(), Some(options)).await;
        let watch = watch.map_err(|error| self.refusal.of("watch", error))?;
        Ok(Feed { watch, seen: after, layout: self.layout.clone(), refusal: self.refusal.clone() })
    }
}

/// One open watch.
pub struct Feed {
    watch: WatchStream,
    seen: Revision,
    layout: Layout,
    refusal: Refusal,
}

impl Feed {
    /// The next events, and the revision up to which all are known now. Whole revisions: etcd never splits one.
    pub async fn next(&mut self) -> Result<(Vec<Arc<Event>>, Revision)> {
        loop {
            let message = self.watch.message().await.map_err(|error| self.refusal.of("watch", error))?;
            let Some(message) = message else { return Err(self.refusal.ended()) };
            if message.compact_revision() > 0 {
                let compacted = convert::from(message.compact_revision());
                return Err(StoreError::Compacted { requested: self.seen, compacted });
            }
            if message.canceled() {
                return Err(self.refusal.ended());
            }
            let at = |event: &etcd_client::Event| {
                event.kv().map_or(Revision::ZERO, |kv| convert::from(kv.mod_revision()))
            };
            let new = message.events().iter().filter(|event| at(event) > self.seen);
            let events: Vec<_> = new.filter_map(|event| self.layout.event(event)).collect();
            let last = message.events().last().map_or(self.seen, at);
            if last > self.seen {
                self.seen = last;
                return Ok((events, last));
            }
        }
    }
}
