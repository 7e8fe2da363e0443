//! Events end by themselves: they hang on leases of the store, one for all events of some minutes.

use std::time::{Duration, Instant};

use hako_store::LeaseId;
use tokio::sync::Mutex;

use crate::http::Outcome;
use crate::kinds::Served;
use crate::server::Inner;

/// For how long new events share a lease at most, and of the time they are kept.
const SHARED: Duration = Duration::from_secs(300);
const SHARE: u32 = 12;

/// The lease that events written now hang on.
#[derive(Debug, Default)]
pub(crate) struct EventLease(Mutex<Option<(LeaseId, Instant)>>);

impl EventLease {
    /// The lease for an object of a kind; none for all but events.
    pub(crate) async fn of(&self, server: &Inner, row: &Served) -> Outcome<Option<LeaseId>> {
        if !row.is("", "events") && !row.is("events.k8s.io", "events") {
            return Ok(None);
        }
        let kept = server.config.event_ttl;
        let shared = SHARED.min(kept / SHARE);
        let mut current = self.0.lock().await;
        match *current {
            Some((lease, since)) if since.elapsed() < shared => Ok(Some(lease)),
            _ => {
                let lease = server.config.store.lease_grant(kept + shared).await?.id;
                *current = Some((lease, Instant::now()));
                Ok(Some(lease))
            }
        }
    }
}
