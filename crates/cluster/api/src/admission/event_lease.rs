//! Events end by themselves: they hang on leases of the store, one for all events of some minutes.

use std::time::{Duration, Instant};

use hako_store::LeaseId;
use tokio::sync::Mutex;

use crate::http::Outcome;
use crate::kinds::KindRow;
use crate::server::Inner;

/// How long an event is kept at least after it was last written.
const KEPT: Duration = Duration::from_secs(3600);
/// For how long new events share a lease.
const SHARED: Duration = Duration::from_secs(300);

/// The lease that events written now hang on.
#[derive(Debug, Default)]
pub(crate) struct EventLease(Mutex<Option<(LeaseId, Instant)>>);

impl EventLease {
    /// The lease for an object of a kind; none for all but events.
    pub(crate) async fn of(&self, server: &Inner, row: &KindRow) -> Outcome<Option<LeaseId>> {
        if row.kind != "Event" {
            return Ok(None);
        }
        let mut current = self.0.lock().await;
        match *current {
            Some((lease, since)) if since.elapsed() < SHARED => Ok(Some(lease)),
            _ => {
                let lease = server.config.store.lease_grant(KEPT + SHARED).await?.id;
                *current = Some((lease, Instant::now()));
                Ok(Some(lease))
            }
        }
    }
}
