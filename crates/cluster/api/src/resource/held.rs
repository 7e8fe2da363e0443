//! Objects do not outlive what holds them: their namespace, and the definition of their kind.
//!
//! ```text
//!   deletion of the holder:   marked (D) ─► objects cleared ─► none left (E) ─► holder gone
//!   creation of an object:    holder read (R) ─► admitted ─► stored (W), if the holder is as it was read
//! ```
//! An object that is stored before D is cleared with the others. None is stored after D: the store refuses W if the holder
//! has changed since R. Whoever creates then looks again, and goes on where the holder may hold objects still.

use std::sync::Arc;

use hako_store::{StoreError, Write, Written};

use super::target::Target;
use crate::admission::{self, Change};
use crate::http::{Failure, Outcome};
use crate::server::Inner;

/// How often a holder may change while an object is stored.
const ATTEMPTS: usize = 16;

/// Stores a new object that was admitted, if what holds it is there and is to stay.
///
/// # Errors
/// Those of the store, and what the creator is told where the holder is gone or going.
pub(super) async fn store(
    server: &Arc<Inner>,
    target: &Target,
    change: &Change<'_>,
    write: Write,
) -> Outcome<Result<Written, StoreError>> {
    let mut guards = change.notes.take_guards();
    for _ in 0..ATTEMPTS {
        if target.row.strategy().holder().is_some() {
            look(server, target, change).await?;
            guards.extend(change.notes.take_guards());
        }
        match server.config.store.write(write.clone().guarded(guards)).await {
            Err(StoreError::Outdated { key }) if write.along.iter().any(|change| change.key == key) => {
                return Ok(Err(StoreError::Outdated { key }));
            }
            Err(StoreError::Outdated { .. }) => {
                admission::is_held(change).await?;
                guards = change.notes.take_guards();
            }
            written => return Ok(written),
        }
    }
    Err(target.modified())
}

/// Looks whether the definition of an object's kind is there and is to stay.
async fn look(server: &Arc<Inner>, target: &Target, change: &Change<'_>) -> Outcome<()> {
    let Some(holder) = target.row.strategy().holder() else { return Ok(()) };
    let entry = server.config.store.get(holder.key.as_bytes()).await?.entry;
    // A definition may have hundreds of kilobytes.
    let found = entry.as_ref().and_then(|entry| Some((entry, server.identities.of(entry).ok()?)));
    let Some((entry, identity)) = found.filter(|(_, identity)| *identity.uid == *holder.uid) else {
        return Err(Failure::no_such_path());
    };
    if identity.deleted.is_some() {
        return Err(Failure::kind_is_ending().of(&target.subject()));
    }
    change.notes.rely_on(entry);
    Ok(())
}
