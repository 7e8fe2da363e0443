//! A store as a stream of bytes, and back.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hako_store::snapshot::{Part, Parts, REVISION_GAP, Snapshot, SnapshotError, restore};
use hako_store::{Embedded, Expect, Op, Range, Revision, Store, StoreError, Write};

async fn put(store: &Embedded, key: &str, value: &str) -> Revision {
    store.write(Write::put(key.to_owned(), value.to_owned(), Expect::Any)).await.unwrap().revision
}

async fn bytes_of(store: &Embedded) -> Vec<u8> {
    Snapshot::take(store).await.unwrap().into_chunks().flatten().collect()
}

#[tokio::test]
async fn what_is_restored_is_what_was_saved_and_its_revisions_go_on_beyond() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path().join("old")).unwrap();
    put(&store, "b", "1").await;
    put(&store, "a", "1").await;
    put(&store, "gone", "1").await;
    put(&store, "b", "2").await;
    store.write(Write::delete("gone", Expect::Any)).await.unwrap();
    let lease = store.lease_grant(Duration::from_secs(600)).await.unwrap().id;
    let op = Op::Put { value: "x".into(), lease: Some(lease) };
    store
        .write(Write {
            key: "leased".into(),
            expect: Expect::Absent,
            op,
            guards: Vec::new(),
            along: Vec::new(),
        })
        .await
        .unwrap();
    let saved = bytes_of(&store).await;
    let before = store.range(Range::all("")).await.unwrap();
    // Lost with the old store; its revision must not come again.
    let lost = put(&store, "a", "lost").await;

    let begin = restore(&dir.path().join("new"), Parts::new(&saved[..])).unwrap();
    assert_eq!(begin, Revision(before.revision.0 + REVISION_GAP));
    let new = Embedded::open(dir.path().join("new")).unwrap();
    let after = new.range(Range::all("")).await.unwrap();
    assert_eq!((after.entries, after.revision), (before.entries, begin));
    for remembered in [Revision(1), before.revision, lost] {
        let refused = new.watch("".into(), remembered).await;
        assert!(matches!(refused, Err(StoreError::Compacted { .. })), "{remembered}");
    }
    let mut watch = new.watch("".into(), begin).await.unwrap();
    assert_eq!(put(&new, "a", "2").await, begin.next());
    assert_eq!(watch.next().await.unwrap().unwrap().events[0].entry.value, "2");
    assert_eq!(new.lease_keepalive(lease).await.unwrap().ttl, Duration::from_secs(600));
    assert!(new.lease_grant(Duration::from_secs(60)).await.unwrap().id > lease);
    new.lease_revoke(lease).await.unwrap();
    assert!(new.get(b"leased").await.unwrap().entry.is_none());
}

#[tokio::test]
async fn a_stream_that_was_cut_anywhere_or_changed_in_its_counts_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    put(&store, "a", "1").await;
    put(&store, "b", "2").await;
    let whole = bytes_of(&store).await;
    let read = |bytes: &[u8]| Parts::new(bytes).collect::<Result<Vec<Part>, SnapshotError>>();
    assert_eq!(read(&whole).unwrap().len(), 3);
    for length in 0..whole.len() {
        assert!(matches!(read(&whole[..length]), Err(SnapshotError::Cut(_))), "cut at {length}");
    }
    // Kinds, lengths and counts of frames; what keys and values are is the checksum's to say.
    for at in (0..29).chain([whole.len() - 1]) {
        let mut changed = whole.clone();
        changed[at] ^= 0x11;
        let is_revision = (5..13).contains(&at);
        assert_eq!(read(&changed).is_ok(), is_revision, "byte {at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_under_load_is_of_one_moment() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    for key in ["1", "2", "3"] {
        put(&store, key, "0").await;
    }
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 1.. {
                for key in ["1", "2", "3"] {
                    put(&store, key, &n.to_string()).await;
                }
                if STOP.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    });
    for _ in 0..200 {
        let parts: Vec<Part> = Parts::new(&bytes_of(&store).await[..]).map(Result::unwrap).collect();
        let Part::Start { revision, .. } = parts[0] else { panic!("{parts:?}") };
        let mut seen: Vec<(String, u64)> = Vec::new();
        for part in &parts[1..] {
            let Part::Entry(entry) = part else { continue };
            assert!(entry.modified <= revision);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            seen.push((text(&entry.key), text(&entry.value).parse().unwrap()));
        }
        seen.sort_unstable();
        let values: Vec<u64> = seen.into_iter().map(|(_, value)| value).collect();
        assert!(values.is_sorted_by(|one, next| one >= next) && values[0] - values[2] <= 1, "{values:?}");
    }
    STOP.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}
