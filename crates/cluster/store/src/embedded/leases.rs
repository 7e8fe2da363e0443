//! The clocks of leases.
//!
//! Owns: which leases live, until when, and the task that ends them. Does not own: their keys, which the writer
//! deletes. A lease's time starts anew when the store is opened: nobody could keep it alive while it was closed.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::Shared;
use super::writer::Command;
use crate::error::{Result, StoreError};
use crate::types::{Lease, LeaseId};

/// Wait before trying again to end a lease whose keys could not be deleted.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Clock {
    ttl: Duration,
    deadline: Instant,
    /// Its keys are being deleted: it accepts no key and cannot be kept alive.
    ending: bool,
}

/// Which leases live, and until when.
#[derive(Debug, Default)]
pub struct Leases {
    clocks: Mutex<HashMap<LeaseId, Clock>>,
    changed: Notify,
}

impl Leases {
    /// Starts a lease's clock.
    pub fn start(&self, id: LeaseId, ttl: Duration) {
        let clock = Clock { ttl, deadline: Instant::now() + ttl, ending: false };
        self.clocks.lock().insert(id, clock);
        self.changed.notify_one();
    }

    /// All that live.
    pub fn all(&self) -> Vec<Lease> {
        let clocks = self.clocks.lock();
        let live = clocks.iter().filter(|(_, clock)| !clock.ending);
        live.map(|(id, clock)| Lease { id: *id, ttl: clock.ttl }).collect()
    }

    /// Whether keys may be attached to it.
    pub fn is_live(&self, id: LeaseId) -> bool {
        self.clocks.lock().get(&id).is_some_and(|clock| !clock.ending)
    }

    /// Starts a lease's time anew.
    pub fn keep_alive(&self, id: LeaseId) -> Result<Lease> {
        let mut clocks = self.clocks.lock();
        let clock = clocks.get_mut(&id).filter(|clock| !clock.ending);
        let clock = clock.ok_or(StoreError::LeaseNotFound { id })?;
        clock.deadline = Instant::now() + clock.ttl;
        Ok(Lease { id, ttl: clock.ttl })
    }

    /// From here on the lease accepts nothing.
    pub fn begin_end(&self, id: LeaseId) -> Result<()> {
        let mut clocks = self.clocks.lock();
        let clock = clocks.get_mut(&id).filter(|clock| !clock.ending);
        clock.ok_or(StoreError::LeaseNotFound { id })?.ending = true;
        Ok(())
    }

    /// The lease's keys could not be deleted, so it lives on; if its time is over, until the next attempt.
    pub fn undo_end(&self, id: LeaseId) {
        if let Some(clock) = self.clocks.lock().get_mut(&id) {
            clock.ending = false;
            clock.deadline = clock.deadline.max(Instant::now() + RETRY);
        }
        self.changed.notify_one();
    }

    /// The lease and its keys are gone.
    pub fn remove(&self, id: LeaseId) {
        self.clocks.lock().remove(&id);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let clocks = self.clocks.lock();
        clocks.values().filter(|clock| !clock.ending).map(|clock| clock.deadline).min()
    }

    fn begin_expired(&self, now: Instant) -> Vec<LeaseId> {
        let mut clocks = self.clocks.lock();
        let expired = clocks.iter_mut().filter(|(_, clock)| !clock.ending && clock.deadline <= now);
        expired
            .map(|(id, clock)| {
                clock.ending = true;
                *id
            })
            .collect()
    }

    /// Wakes the task so that it sees that the store is closed.
    pub fn close(&self) {
        self.changed.notify_one();
    }
}

/// Ends leases as their time runs out, for as long as the store is open.
pub fn tend(shared: &Arc<Shared>, queue: mpsc::WeakSender<Command>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        tracing::debug!("store opened outside a runtime: leases do not expire");
        return;
    };
    let shared = Arc::downgrade(shared);
    runtime.spawn(async move { while step(&shared, &queue).await.is_some() {} });
}

/// Waits for the next deadline or change and ends what has expired; `None` once the store is gone.
async fn step(shared: &Weak<Shared>, queue: &mpsc::WeakSender<Command>) -> Option<()> {
    let shared = shared.upgrade().filter(|shared| !shared.is_closed())?;
    match shared.leases.next_deadline() {
        None => shared.leases.changed.notified().await,
        Some(deadline) => {
            tokio::select! {
                () = shared.leases.changed.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }
    for id in shared.leases.begin_expired(Instant::now()) {
        let (reply, answer) = oneshot::channel();
        queue.upgrade()?.send(Command::Expire(id, reply)).await.ok()?;
        if let Err(error) = answer.await.ok()? {
            tracing::warn!(lease = %id, %error, "could not end an expired lease, trying again");
        }
    }
    Some(())
}
