//! Objects that are kept sealed.
//!
//! Owns: which keys of the store those are (a row of the table of kinds says so), and when the keys that seal them are
//! changed. Does not own: how a record is sealed, and the order of a change ([`hako_store::Sealed`]).
//!
//! Invariant: whoever reads or writes objects does so through the store made here.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hako_error::Result;
use hako_store::{Sealed, Store};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::ServerConfig;
use crate::kinds::Kinds;
use crate::resource::registry_prefix;
use crate::server::Inner;

/// Between attempts at what the store did not let us finish.
const RETRY: Duration = Duration::from_secs(10);

/// The store that seals, and how far a change of keys has come.
#[derive(Debug)]
pub(crate) struct Sealing {
    pub store: Sealed,
    wanted: Notify,
    /// Why the last attempt to settle failed.
    fault: Mutex<Option<String>>,
}

/// Puts what seals over the store of a configuration.
pub(crate) async fn seal(mut config: ServerConfig) -> Result<(ServerConfig, Sealing)> {
    let sealed = Kinds::built_in().all().iter().filter(|row| row.is_sealed);
    let prefixes: Vec<Bytes> = sealed.map(|row| registry_prefix(row, "").into()).collect();
    let store = Sealed::open(Arc::clone(&config.store), config.pki.sealing_keys(), prefixes).await?;
    config.store = Arc::new(store.clone());
    // A start settles: what an earlier one did not finish, and what was written before anything was sealed.
    let wanted = Notify::new();
    wanted.notify_one();
    Ok((config, Sealing { store, wanted, fault: Mutex::default() }))
}

impl Sealing {
    /// From here on a new key seals; the rest is done in the background.
    pub(crate) async fn change_key(&self) -> Result<String> {
        let id = self.store.add_key().await?;
        self.wanted.notify_one();
        Ok(id)
    }

    /// Why what has to be done could not be done yet.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.lock().clone()
    }
}

/// Settles whenever it is wanted, until the server stops.
pub(crate) async fn keep(server: Weak<Inner>, stop: CancellationToken) {
    let work = async {
        while let Some(pause) = step(&server).await {
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Answers how long to wait before the next; `None` once the server is gone.
async fn step(server: &Weak<Inner>) -> Option<Duration> {
    let inner = server.upgrade()?;
    inner.sealing.wanted.notified().await;
    let outcome = inner.sealing.store.settle().await;
    *inner.sealing.fault.lock() = outcome.as_ref().err().map(ToString::to_string);
    match outcome {
        Ok(settled) => {
            if settled.rewritten > 0 {
                tracing::info!(records = settled.rewritten, "sealed with the newest key");
            }
            Some(Duration::ZERO)
        }
        Err(error) => {
            tracing::warn!(%error, "not everything is sealed with the newest key yet, trying again");
            inner.sealing.wanted.notify_one();
            Some(RETRY)
        }
    }
}

/// The store beneath, which shows what is sealed as it is kept.
pub(crate) fn beneath(inner: &Inner) -> &Arc<dyn Store> {
    inner.sealing.store.beneath()
}
