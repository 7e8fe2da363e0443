//! How many objects there are of each kind: counted when somebody asks and it is long ago that it was counted, for to
//! count is to walk over them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hako_store::{Range, StoreError};

use crate::kinds::{self, KindRow};
use crate::resource::registry_prefix;
use crate::server::Inner;

const FRESH: Duration = Duration::from_secs(30);

/// The counts, one for each row of the table.
#[derive(Debug)]
pub(crate) struct Objects {
    began: Instant,
    counts: Box<[Count]>,
}

#[derive(Debug, Default)]
struct Count {
    objects: AtomicU64,
    /// Milliseconds after the beginning at which it was, or is being, counted; zero for never.
    at: AtomicU64,
}

impl Default for Objects {
    fn default() -> Self {
        Self { began: Instant::now(), counts: kinds::table().iter().map(|_| Count::default()).collect() }
    }
}

impl Objects {
    /// The last count, zero at first; it is counted again, without waiting for that, if it is old.
    pub(crate) fn about(server: &Arc<Inner>, group: &str, version: &str, plural: &str) -> u64 {
        let row = kinds::table()
            .iter()
            .position(|row| row.plural == plural && row.group == group && row.version == version);
        let Some(row) = row else { return 0 };
        let (all, count) = (&server.objects, &server.objects.counts[row]);
        let now = u64::try_from(all.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let at = count.at.load(Ordering::Relaxed);
        let is_old = at == 0 || Duration::from_millis(now.saturating_sub(at)) > FRESH;
        if is_old && count.at.compare_exchange(at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let server = Arc::clone(server);
            tokio::spawn(async move {
                if let Err(error) = server.objects.count(&server, row).await {
                    tracing::debug!(%error, "objects could not be counted");
                }
            });
        }
        count.objects.load(Ordering::Relaxed)
    }

    async fn count(&self, server: &Inner, row: usize) -> Result<u64, StoreError> {
        let prefix = Bytes::from(registry_prefix(&kinds::table()[row], ""));
        let page = server.config.store.range(Range { limit: 1, ..Range::all(prefix) }).await?;
        let objects = page.entries.len() as u64 + page.remaining;
        self.counts[row].objects.store(objects, Ordering::Relaxed);
        Ok(objects)
    }

    /// All kinds that are kept, in one of the forms they have, with their counts now.
    pub(super) async fn all(&self, server: &Inner) -> Result<Vec<(&'static KindRow, u64)>, StoreError> {
        let mut all = Vec::new();
        for (place, row) in kinds::table().iter().enumerate() {
            if row.question.is_none() && row.stored.is_none() {
                all.push((row, self.count(server, place).await?));
            }
        }
        Ok(all)
    }
}
