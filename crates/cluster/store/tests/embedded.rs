//! What the embedded store promises beyond the contract: across restarts, about its bounds and its clocks.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use hako_store::{
    Embedded, EmbeddedConfig, EventKind, Expect, HistoryLimits, Op, Range, Revision, Store, StoreError, Write,
};

async fn put(store: &Embedded, key: &str, value: impl Into<String>) -> Revision {
    let write = Write::put(key.to_owned(), value.into(), Expect::Any);
    store.write(write).await.unwrap().revision
}

async fn put_leased(store: &Embedded, key: &str, lease: hako_store::LeaseId) {
    let op = Op::Put { value: "x".into(), lease: Some(lease) };
    let write =
        Write { key: key.to_owned().into(), expect: Expect::Any, op, guards: Vec::new(), along: Vec::new() };
    store.write(write).await.unwrap();
}

#[tokio::test]
async fn entries_revisions_and_history_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    let one = put(&store, "a", "1").await;
    put(&store, "b", "1").await;
    store.compact(put(&store, "a", "2").await).await.unwrap();
    let after = put(&store, "a", "3").await;
    put(&store, "b", "2").await;
    store.write(Write::delete("a", Expect::Any)).await.unwrap();
    let before = (store.range(Range::all("")).await.unwrap(), store.status().await.unwrap());
    store.close().await;

    let store = Embedded::open(dir.path()).unwrap();
    let status = store.status().await.unwrap();
    assert_eq!(store.range(Range::all("")).await.unwrap(), before.0);
    assert_eq!((status.revision, status.compacted), (before.1.revision, before.1.compacted));
    assert_eq!(status.bytes, before.1.bytes);
    let mut watch = store.watch("".into(), after).await.unwrap();
    let batch = watch.next().await.unwrap().unwrap();
    let kinds: Vec<_> = batch.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Put, EventKind::Delete]);
    assert_eq!(batch.events[1].previous.as_ref().unwrap().value, "3");
    assert!(matches!(store.watch("".into(), one).await, Err(StoreError::Compacted { .. })));
    assert_eq!(put(&store, "c", "1").await, before.1.revision.next());
}

/// The policies of the threads of stores; proc_pid_stat(5), the field 41. `SCHED_RR` is 2.
fn policies() -> Vec<u32> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.join("stat")).ok());
    let ours = stats.filter(|stat| stat.contains("(hako-store)"));
    ours.map(|stat| stat.rsplit_once(')').unwrap().1.split_whitespace().nth(38).unwrap().parse().unwrap())
        .collect()
}

#[tokio::test]
async fn what_commits_runs_before_what_computes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    put(&store, "a", "1").await;
    assert!(policies().contains(&2), "{:?}", policies());
    store.scrub().await.unwrap();
    put(&store, "a", "2").await;
    assert!(policies().contains(&2), "also after it has written the database anew: {:?}", policies());
    let crowd = (0..200).map(|at| store.write(Write::put(format!("k{at}"), "1", Expect::Any)));
    futures::future::try_join_all(crowd).await.unwrap();
    assert!(!policies().contains(&2), "with so many writers it waits for what they bring: {:?}", policies());
}

#[tokio::test]
async fn a_watch_answers_at_once_how_far_it_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let never = Duration::from_secs(86_400);
    let config = EmbeddedConfig { progress_interval: never, ..EmbeddedConfig::new(dir.path()) };
    let store = Embedded::open_with(config).unwrap();
    let mut watch = store.watch("quiet/".into(), store.revision().await.unwrap()).await.unwrap();
    for quiet in [false, true] {
        let at = put(&store, "loud", "1").await;
        let progress = watch.progress().unwrap().unwrap();
        assert_eq!((progress.events.len(), progress.revision), (0, at), "{quiet}");
        assert_eq!(watch.progress().unwrap().unwrap(), progress, "nothing new is an answer too");
        let at = put(&store, "quiet/a", "1").await;
        // What there is to tell comes first, and at once.
        let batch = if quiet { watch.progress() } else { watch.next().await };
        let batch = batch.unwrap().unwrap();
        assert_eq!((batch.events.len(), batch.revision), (1, at));
    }
    store.close().await;
    assert!(watch.progress().is_none());
}

#[tokio::test]
async fn the_revision_survives_when_its_record_was_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    put(&store, "a", "1").await;
    let last = store.write(Write::delete("a", Expect::Any)).await.unwrap().revision;
    store.compact(last).await.unwrap();
    store.close().await;
    let store = Embedded::open(dir.path()).unwrap();
    assert_eq!(store.revision().await.unwrap(), last);
    assert_eq!(put(&store, "a", "2").await, last.next());
}

#[tokio::test]
async fn a_directory_belongs_to_one_store_and_is_free_after_the_last_clone_went() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    let clone = store.clone();
    drop(store);
    assert!(matches!(Embedded::open(dir.path()), Err(StoreError::InUse { .. })));
    drop(clone);
    Embedded::open(dir.path()).unwrap();
}

#[tokio::test]
async fn a_closed_store_refuses_writes_and_ends_watches() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    let at = put(&store, "a", "1").await;
    let mut watch = store.watch("".into(), at).await.unwrap();
    let waiting = tokio::spawn(async move { watch.next().await });
    store.close().await;
    assert!(waiting.await.unwrap().is_none());
    let error = store.write(Write::create("b", "1")).await.unwrap_err();
    assert!(matches!(error, StoreError::Closed));
    assert!(store.get(b"a").await.unwrap().entry.is_some());
}

#[tokio::test]
async fn history_stays_within_its_limits_without_anyone_asking() {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig {
        history: HistoryLimits { max_events: 100, ..HistoryLimits::default() },
        ..EmbeddedConfig::new(dir.path())
    };
    let store = Embedded::open_with(config).unwrap();
    let first = put(&store, "quiet", "1").await;
    let mut quiet = store.watch("quiet".into(), first).await.unwrap();
    let mut slow = store.watch("loud".into(), first).await.unwrap();
    for n in 0..1000 {
        put(&store, "loud", n.to_string()).await;
    }
    let status = store.status().await.unwrap();
    assert!(status.revision.0 - status.compacted.0 <= 101, "{status:?}");
    let last = put(&store, "quiet", "2").await;
    let batch = quiet.next().await.unwrap().unwrap();
    assert_eq!(batch.events[0].revision(), last, "a quiet prefix does not fall behind");
    let error = slow.next().await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Compacted { .. }));
    assert!(slow.next().await.is_none());
}

#[tokio::test]
async fn a_key_or_value_that_is_too_large_is_refused_before_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    let long_key = store.write(Write::create(vec![b'k'; 5000], "")).await.unwrap_err();
    assert_eq!(long_key.to_string(), "key of 5000 bytes is over the limit of 4096");
    let long_value = store.write(Write::create("k", vec![0; 9 << 20])).await.unwrap_err();
    assert!(matches!(long_value, StoreError::TooLarge { what: "value", .. }));
}

#[tokio::test]
async fn a_lease_lives_as_long_as_it_is_kept_alive() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    let lease = store.lease_grant(Duration::from_secs(60)).await.unwrap().id;
    put_leased(&store, "a", lease).await;
    let mut watch = store.watch("a".into(), store.revision().await.unwrap()).await.unwrap();
    tokio::time::pause();
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(59)).await;
        store.lease_keepalive(lease).await.unwrap();
    }
    assert!(store.get(b"a").await.unwrap().entry.is_some());
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    loop {
        let batch = watch.next().await.unwrap().unwrap();
        if let Some(event) = batch.events.first() {
            assert_eq!(event.kind, EventKind::Delete);
            break;
        }
    }
    assert!(store.lease_keepalive(lease).await.is_err());
}

#[tokio::test]
async fn a_lease_survives_a_restart_and_its_number_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    let lease = store.lease_grant(Duration::from_secs(60)).await.unwrap().id;
    let revoked = store.lease_grant(Duration::from_secs(60)).await.unwrap().id;
    put_leased(&store, "a", lease).await;
    store.lease_revoke(revoked).await.unwrap();
    store.close().await;

    let store = Embedded::open(dir.path()).unwrap();
    assert_eq!(store.lease_keepalive(lease).await.unwrap().ttl, Duration::from_secs(60));
    assert!(store.lease_keepalive(revoked).await.is_err());
    assert!(store.lease_grant(Duration::from_secs(60)).await.unwrap().id > revoked);
    store.lease_revoke(lease).await.unwrap();
    assert!(store.get(b"a").await.unwrap().entry.is_none());
}
