//! One fetch for all who ask for the same thing.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// What is being fetched.
#[derive(Debug, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<String, Arc<AsyncMutex<()>>>>>);

/// The turn for one key; the next one looks whether anything is left to do.
#[derive(Debug)]
pub(super) struct Flight {
    flights: Arc<Mutex<HashMap<String, Arc<AsyncMutex<()>>>>>,
    key: String,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    /// Waits for the turn.
    pub(super) async fn join(&self, key: &str) -> Flight {
        let lock = Arc::clone(self.0.lock().entry(key.to_owned()).or_default());
        let turn = Some(lock.lock_owned().await);
        Flight { flights: Arc::clone(&self.0), key: key.to_owned(), turn }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        self.turn = None;
        // Only the table has it: nobody waits.
        if flights.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            flights.remove(&self.key);
        }
    }
}
