//! How many objects there are of each kind: counted when somebody asks and it is long ago that it was counted, for to
//! count is to walk over them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hako_store::{Range, StoreError};

use crate::kinds::Served;
use crate::resource::registry_prefix;
use crate::server::Inner;

const FRESH: Duration = Duration::from_secs(30);

/// When counting began; the counts are the kinds'.
#[derive(Debug)]
pub(crate) struct Objects {
    began: Instant,
}

impl Default for Objects {
    fn default() -> Self {
        Self { began: Instant::now() }
    }
}

impl Objects {
    /// The last count, zero at first; it is counted again, without waiting for that, if it is old.
    pub(crate) fn about(server: &Arc<Inner>, group: &str, version: &str, plural: &str) -> u64 {
        let Some(row) = server.kinds.by_resource(group, version, plural) else { return 0 };
        let objects = row.count.objects.load(Ordering::Relaxed);
        let since = server.objects.began.elapsed();
        let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1);
        let at = row.count.at.load(Ordering::Relaxed);
        let is_old = at == 0 || Duration::from_millis(now.saturating_sub(at)) > FRESH;
        if is_old && row.count.at.compare_exchange(at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let server = Arc::clone(server);
            tokio::spawn(async move {
                if let Err(error) = count(&server, &row).await {
                    tracing::debug!(%error, "objects could not be counted");
                }
            });
        }
        objects
    }
}

async fn count(server: &Inner, row: &Served) -> Result<u64, StoreError> {
    let prefix = Bytes::from(registry_prefix(row, ""));
    let page = server.config.store.range(Range { limit: 1, ..Range::all(prefix) }).await?;
    let objects = page.entries.len() as u64 + page.remaining;
    row.count.objects.store(objects, Ordering::Relaxed);
    Ok(objects)
}

/// All kinds that are kept, in one of the forms they have, with their counts now.
pub(super) async fn all(server: &Inner) -> Result<Vec<(Arc<Served>, u64)>, StoreError> {
    let mut all = Vec::new();
    for row in server.kinds.now().all().iter().filter(|row| row.is_kept) {
        all.push((Arc::clone(row), count(server, row).await?));
    }
    Ok(all)
}
