//! What the fuzz targets run, on a corpus and on damaged copies of it: the same each time.

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/records.rs"]
mod records;
#[path = "../fuzz/harness/sealed.rs"]
mod sealed;
#[path = "../fuzz/harness/snapshots.rs"]
mod snapshots;

use std::time::Duration;

use hako_store::snapshot::Snapshot;
use hako_store::{Embedded, EmbeddedConfig, Expect, Op, Store as _, Write};

/// Where a snapshot has its revision.
const START: usize = 5;

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
    let at = |snapshot: &[u8], revision: u64| {
        [&snapshot[..START], &revision.to_be_bytes(), &snapshot[START + 8..]].concat()
    };
    let odd = [at(&full, 1), at(&empty, u64::MAX), at(&full, u64::MAX)];
    damaged::run([vec![empty, full, followed, Vec::new()], odd.into()].concat(), 4000, snapshots::run);
}

#[test]
fn records_are_a_store_that_is_the_same_by_every_question_or_damage() {
    let rows = records::Rows::default();
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut seeds = vec![Vec::new()];
    runtime.block_on(async {
        let store = Embedded::open_on(EmbeddedConfig::new(dir.path()), rows.opener()).expect("a store");
        let lease = store.lease_grant(Duration::from_secs(600)).await.expect("a lease").id;
        for (number, key) in ["a", "b", "a", "c", "b"].into_iter().enumerate() {
            let op = Op::Put { value: number.to_string().into(), lease: (key == "b").then_some(lease) };
            let write =
                Write { key: key.into(), expect: Expect::Any, op, guards: Vec::new(), along: Vec::new() };
            store.write(write).await.expect("written");
            seeds.push(rows.written());
        }
        store.write(Write::delete("c", Expect::Any)).await.expect("deleted");
        store.compact(store.revision().await.expect("a revision")).await.expect("compacted");
        seeds.push(rows.written());
        store.close().await;
    });
    seeds.push(rows.written());
    // At the ends of what numbers hold.
    let last = [&[1][..], &u64::MAX.to_be_bytes(), &[0, 30, 1], &[0; 24], &[0, 0, 0, 1, b'k']].concat();
    let forever = [&[0, 14][..], b"lease/", &7_u64.to_be_bytes(), &[0, 8], &u64::MAX.to_be_bytes()].concat();
    let compacted = [&[0, 9][..], b"compacted", &[0, 8], &u64::MAX.to_be_bytes()].concat();
    seeds.extend([last.clone(), forever, compacted.clone(), [compacted, last].concat()]);
    damaged::run(seeds, 2000, records::run);
}

#[test]
fn a_value_in_place_of_a_sealed_one_is_opened_only_as_it_was_sealed() {
    let good = sealed::good();
    let seeds = vec![good.clone(), good[..44].to_vec(), sealed::VALUE.into(), Vec::new()];
    damaged::run(seeds, 500, sealed::run);
}
