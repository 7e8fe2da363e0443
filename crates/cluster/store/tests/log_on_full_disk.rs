//! The log may be on the disk that fills up: telling of the refusal must not end the store.
//!
//! A program of its own, because it sets the process's subscriber.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hako_store::log::{Log, LogBatch, LogError, VisitRecord, VisitValue};
use hako_store::{Embedded, EmbeddedConfig, Store, StoreError, Write};
use tracing::span;

static LOGGED: AtomicU32 = AtomicU32::new(0);

/// Panics as a subscriber does that reports its failed write to a standard error on the same disk.
struct NoRoomForTheLog;

impl tracing::Subscriber for NoRoomForTheLog {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("hako_store")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        LOGGED.fetch_add(1, Ordering::SeqCst);
        panic!("failed printing to stderr: no space left on device");
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct FullLog(Arc<AtomicBool>);

impl Log for FullLog {
    fn load(&self, _: VisitRecord<'_>, _: VisitValue<'_>) -> Result<(), LogError> {
        Ok(())
    }

    fn commit(&mut self, _: &LogBatch) -> Result<(), LogError> {
        if self.0.load(Ordering::SeqCst) { Err(LogError::Full) } else { Ok(()) }
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn a_log_that_has_no_room_either_does_not_close_the_store() {
    tracing::subscriber::set_global_default(NoRoomForTheLog).unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::clone(&full);
    let opener = move |_: &Path| Ok(Box::new(FullLog(Arc::clone(&disk))) as Box<dyn Log>);
    let store = Embedded::open_on(EmbeddedConfig::new(dir.path()), Box::new(opener)).unwrap();

    full.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let error = store.write(Write::create("a", "1")).await.unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    }
    assert_eq!(LOGGED.load(Ordering::SeqCst), 1, "the refusal is told once");

    full.store(false, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = store.write(Write::create("a", "1")).await {
        assert!(matches!(error, StoreError::DiskFull { .. }) && Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(store.get(b"a").await.unwrap().entry.unwrap().value, "1");
    store.close().await;
}
