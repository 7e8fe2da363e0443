//! Objects of a defined kind do not outlive their definition.
//!
//! ```text
//!   deletion of the definition:   marked (D) ─► objects cleared ─► none left (E) ─► definition gone
//!   creation of an object:        admitted ──────────────────────► stored (W) ─► definition looked at
//! ```
//! An object that is stored before E is cleared with the others. One that is stored after it was admitted before D was
//! seen, by this server or another; whoever stored it finds the definition marked, gone, or another one of its name, and
//! takes the object back. A look before the write would not do: the definition may go between the two.

use std::sync::Arc;

use hako_kube::Head;
use hako_store::{Expect, Revision, StoreError, Write};

use super::target::Target;
use crate::http::{Failure, Outcome};
use crate::server::Inner;

/// How often what was stored may have been changed by others while it is taken back.
const ATTEMPTS: usize = 16;

/// Whether an object that was stored at a revision may stay; if not, it is taken back.
///
/// # Errors
/// What the creator is told: as if the definition had been gone, or going, before.
pub(super) async fn confirm(server: &Arc<Inner>, target: &Target, written: Revision) -> Outcome<()> {
    let Some(holder) = target.row.strategy().holder() else { return Ok(()) };
    let entry = server.config.store.get(holder.key.as_bytes()).await?.entry;
    let found = entry.and_then(|entry| Head::identity(&entry.value).ok());
    let failure = match found {
        Some((uid, None)) if uid == holder.uid => return Ok(()),
        Some((uid, Some(_))) if uid == holder.uid => Failure::kind_is_ending().of(&target.subject()),
        _ => Failure::no_such_path(),
    };
    take_back(server, target, written).await?;
    Err(failure)
}

/// Deletes what was created at a revision, whoever has changed it since.
async fn take_back(server: &Arc<Inner>, target: &Target, created: Revision) -> Outcome<()> {
    let store = &server.config.store;
    for _ in 0..ATTEMPTS {
        let entry = store.get(&target.key()).await?.entry;
        let Some(entry) = entry.filter(|entry| entry.created == created) else { return Ok(()) };
        match store.write(Write::delete(target.key(), Expect::At(entry.modified))).await {
            Ok(_) | Err(StoreError::NotFound { .. }) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(target.modified())
}
