//! A lock for each digest, at the price of 64.
//!
//! Holding a digest's lock makes "bytes appear, record appears" and "record is without links, bytes go" two whole
//! steps that cannot interleave.

use hako_names::Digest;
use tokio::sync::{Mutex, MutexGuard};

const COUNT: usize = 64;

/// Locks by digest.
#[derive(Debug)]
pub(crate) struct Stripes(Vec<Mutex<()>>);

impl Default for Stripes {
    fn default() -> Self {
        Self((0..COUNT).map(|_| Mutex::new(())).collect())
    }
}

impl Stripes {
    /// Waits for the digest's lock.
    pub(crate) async fn lock(&self, digest: Digest) -> MutexGuard<'_, ()> {
        let index = usize::from_str_radix(&digest.hex()[..4], 16).unwrap_or_default() % COUNT;
        self.0[index].lock().await
    }
}
