//! What the fuzz target runs, on a corpus and on damaged copies of it: the same each time.

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/snapshots.rs"]
mod snapshots;

use std::time::Duration;

use hako_store::snapshot::Snapshot;
use hako_store::{Embedded, Expect, Op, Store as _, Write};

#[tokio::test]
async fn a_snapshot_is_read_whole_or_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path()).expect("a store");
    let taken = async || {
        let snapshot = Snapshot::take(&store).await.expect("a snapshot");
        snapshot.into_chunks().flatten().collect::<Vec<u8>>()
    };
    let empty = taken().await;
    let lease = store.lease_grant(Duration::from_secs(600)).await.expect("a lease").id;
    for (key, value, lease) in [("a", "1", None), ("b", "", Some(lease)), ("c", &"x".repeat(300), None)] {
        let op = Op::Put { value: value.to_owned().into(), lease };
        let write =
            Write { key: key.into(), expect: Expect::Absent, op, guards: Vec::new(), along: Vec::new() };
        store.write(write).await.expect("written");
    }
    let full = taken().await;
    let followed = [full.as_slice(), empty.as_slice()].concat();
    damaged::run(vec![empty, full, followed, Vec::new()], 4000, snapshots::run);
}
