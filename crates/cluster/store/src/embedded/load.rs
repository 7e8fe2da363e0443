//! From the log on disk back to the state in memory, and the names of the values beside the records.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::log::{Log, LogError};
use super::record;
use super::state::{Past, State};
use crate::types::{Event, LeaseId, Revision};

pub const VALUE_FORMAT: &[u8] = b"format";
pub const VALUE_COMPACTED: &[u8] = b"compacted";
pub const VALUE_LAST_LEASE: &[u8] = b"last-lease";
const VALUE_LEASE: &[u8] = b"lease/";
pub const FORMAT: u64 = 1;

/// The name of the value that holds a lease's time to live in ms.
pub fn lease_value(id: LeaseId) -> Vec<u8> {
    [VALUE_LEASE, &id.0.to_be_bytes()].concat()
}

/// What the state does not hold.
pub struct Loaded {
    pub last_lease: u64,
    /// Nothing was there yet.
    pub fresh: bool,
}

/// Rebuilds the state from the log, which is read once: values come before records.
pub fn load(shared: &Shared, log: &dyn Log) -> Result<Loaded, LogError> {
    let values: RefCell<HashMap<Vec<u8>, u64>> = RefCell::default();
    let mut compacted = None;
    let mut state = shared.state.write();
    log.load(
        &mut |revision, bytes| {
            let compacted = match compacted {
                Some(compacted) => compacted,
                None => *compacted.insert(begin(&values.borrow())?),
            };
            restore(&mut state, compacted, Revision(revision), bytes)
        },
        &mut |name, value| {
            let value = value
                .try_into()
                .map_err(|_| LogError::Damaged(format!("value {} makes no sense", name.escape_ascii())))?;
            values.borrow_mut().insert(name.to_vec(), u64::from_be_bytes(value));
            Ok(())
        },
    )?;
    let values = values.into_inner();
    let compacted = begin(&values)?;
    state.revision = state.revision.max(compacted);
    state.compacted = compacted;
    for (name, ttl_ms) in &values {
        let id = name.strip_prefix(VALUE_LEASE).and_then(|id| id.try_into().ok());
        if let Some(id) = id {
            let id = LeaseId(u64::from_be_bytes(id));
            shared.leases.start(id, Duration::from_millis(*ttl_ms));
        }
    }
    let last_lease = plausible(Revision(values.get(VALUE_LAST_LEASE).copied().unwrap_or(0)))?.0;
    Ok(Loaded { last_lease, fresh: values.is_empty() })
}

/// Where history begins, if the records are of a form that is known here.
fn begin(values: &HashMap<Vec<u8>, u64>) -> Result<Revision, LogError> {
    if let Some(format) = values.get(VALUE_FORMAT).filter(|format| **format != FORMAT) {
        return Err(LogError::Failed(format!(
            "format {format} was written by another version of hako, this one knows {FORMAT}"
        )));
    }
    plausible(Revision(values.get(VALUE_COMPACTED).copied().unwrap_or(0)))
}

/// What is damaged must not be what the next write counts on from.
fn plausible(revision: Revision) -> Result<Revision, LogError> {
    if revision < Revision::LAST {
        return Ok(revision);
    }
    Err(LogError::Damaged(format!("no store comes to revision {revision}")))
}

fn restore(state: &mut State, compacted: Revision, revision: Revision, bytes: &[u8]) -> Result<(), LogError> {
    let record = record::decode(plausible(revision)?, bytes)?;
    if revision <= compacted {
        state.restore(Arc::new(record.entry));
        return Ok(());
    }
    // The last record before history may be older than the compaction itself.
    state.revision = state.revision.max(compacted);
    state.compacted = compacted;
    if revision != state.revision.next() {
        let missing = state.revision.next();
        return Err(LogError::Damaged(format!("the record of revision {missing} is missing")));
    }
    let previous = state.get(&record.entry.key).cloned();
    state.apply(Past {
        event: Arc::new(Event { kind: record.kind, entry: Arc::new(record.entry), previous }),
        at_ms: record.at_ms,
    });
    Ok(())
}
