//! A million small objects: what the process takes beside their bytes.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use hako_store::snapshot::{Part, SnapshotError, restore};
use hako_store::{Embedded, Entry, Expect, Revision, Store, Write};

const DIR: &str = "HAKO_STORE_MILLION_DIR";
const OBJECTS: u64 = 1_000_000;
const VALUE_BYTES: usize = 256;

fn entry(n: u64) -> Entry {
    // In an order that has nothing to do with that of keys.
    let key =
        format!("/registry/core/configmaps/ns-{:03}/name-{:08}", n % 100, n.wrapping_mul(7_919) % OBJECTS);
    Entry {
        key: key.into(),
        value: Bytes::from(vec![b'x'; VALUE_BYTES]),
        created: Revision(n),
        modified: Revision(n),
        lease: None,
    }
}

fn parts() -> impl Iterator<Item = Result<Part, SnapshotError>> {
    let start = Part::Start { revision: Revision(OBJECTS), leases: 0, entries: OBJECTS };
    std::iter::once(start).chain((1..=OBJECTS).map(|n| Part::Entry(entry(n)))).map(Ok)
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Not a test by itself: what the child does, whose memory is the store's alone.
#[test]
fn the_child_opens_the_store_and_writes_some() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let before = resident_bytes();
        let began = Instant::now();
        let store = Embedded::open(Path::new(&dir)).unwrap();
        println!("opened in {:?}", began.elapsed());
        let opened = resident_bytes() - before;
        for n in 0..2_000 {
            store
                .write(Write::put(entry(1 + n * 97).key, vec![b'y'; VALUE_BYTES], Expect::Any))
                .await
                .unwrap();
        }
        let status = store.status().await.unwrap();
        assert_eq!(status.entries, OBJECTS);
        let now = resident_bytes() - before;
        let ratio = |bytes: u64| bytes as f64 / status.bytes as f64;
        println!("opened {:.2}, after writes {:.2} of {} bytes", ratio(opened), ratio(now), status.bytes);
        assert!(ratio(opened) <= 2.5 && ratio(now) <= 2.5, "{opened} and {now} of {}", status.bytes);
    });
}

#[test]
#[ignore = "long"]
fn a_million_small_objects_take_at_most_two_and_a_half_times_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    restore(dir.path(), parts()).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_opens_the_store_and_writes_some", "--nocapture"])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    assert!(said.contains("after writes"), "the child measured: {said}");
    println!("{said}");
}
