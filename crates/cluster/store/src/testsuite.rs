//! The contract suite that every [`crate::Store`] passes. An implementation's tests read:
//!
//! ```ignore
//! hako_store::contract_suite!(async { (store, guard) });
//! ```
//! The expression is evaluated for every case; the guard keeps the store's surroundings alive.

#![expect(clippy::unwrap_used, reason = "a test panics where its expectation fails")]
#![expect(clippy::missing_panics_doc, reason = "cases are named for what they expect")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{
    Along, Batch, Event, EventKind, Expect, Op, Page, Range, Revision, Store, StoreError, Watch, Write,
};

/// Declares one test per case.
#[macro_export]
macro_rules! contract_suite {
    ($make:expr) => {
        $crate::contract_suite!(@cases $make,
            a_key_is_created_read_updated_and_deleted
            every_write_has_the_next_revision
            a_write_that_relies_on_another_key_needs_it_as_it_was_read
            a_failed_condition_changes_nothing_and_tells_what_is_there
            of_concurrent_writers_with_one_expectation_one_wins
            concurrent_increments_by_compare_and_swap_are_all_counted
            a_range_holds_the_prefix_in_the_order_of_keys
            pages_at_one_revision_fit_together_while_keys_change
            a_read_at_an_older_revision_sees_what_was
            a_watch_gets_every_event_after_its_revision_in_order
            a_watch_gets_what_happens_later_below_its_prefix_only
            an_event_carries_what_was_before
            a_watch_of_a_quiet_prefix_reports_progress
            a_watch_that_is_asked_says_how_far_it_has_come
            compaction_ends_old_reads_and_old_watches_with_a_typed_error
            a_watch_that_is_read_survives_compaction
            revisions_of_the_future_are_refused
            a_revoked_lease_takes_its_keys_with_it
            a_put_without_a_lease_detaches_the_key
            a_lease_that_is_not_kept_alive_expires
            the_status_tells_where_the_store_is
            what_is_written_along_happens_with_the_write_or_not_at_all
        );
    };
    (@cases $make:expr, $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (store, _guard) = $make.await;
                $crate::testsuite::$case(std::sync::Arc::new(store)).await;
            }
        )*
    };
}

type Subject = Arc<dyn Store>;

async fn put(store: &Subject, key: &str, value: &str) -> Revision {
    let write = Write::put(key.to_owned(), value.to_owned(), Expect::Any);
    store.write(write).await.unwrap().revision
}

async fn delete(store: &Subject, key: &str) -> Revision {
    let write = Write::delete(key.to_owned(), Expect::Any);
    store.write(write).await.unwrap().revision
}

async fn value(store: &Subject, key: &str) -> Option<Bytes> {
    let entry = store.get(key.as_bytes()).await.unwrap().entry?;
    Some(entry.value.clone())
}

fn keys(page: &Page) -> Vec<&str> {
    let keys = page.entries.iter();
    keys.map(|entry| std::str::from_utf8(&entry.key).unwrap()).collect()
}

async fn next(watch: &mut Watch) -> Result<Batch, StoreError> {
    let next = tokio::time::timeout(Duration::from_secs(30), watch.next());
    next.await.unwrap().unwrap()
}

async fn events(watch: &mut Watch, count: usize) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(next(watch).await.unwrap().events);
    }
    events
}

pub async fn a_key_is_created_read_updated_and_deleted(store: Subject) {
    let created = store.write(Write::create("a", "1")).await.unwrap();
    assert_eq!(created.previous, None);
    let read = store.get(b"a").await.unwrap();
    let entry = read.entry.unwrap();
    assert_eq!((&entry.key[..], &entry.value[..]), (&b"a"[..], &b"1"[..]));
    assert_eq!((entry.created, entry.modified), (created.revision, created.revision));
    assert!(read.revision >= created.revision);

    let updated = store.write(Write::update("a", "2", created.revision)).await.unwrap();
    assert_eq!(updated.previous, Some(entry));
    let entry = store.get(b"a").await.unwrap().entry.unwrap();
    assert_eq!((entry.created, entry.modified), (created.revision, updated.revision));

    let deleted = store.write(Write::delete("a", Expect::At(updated.revision))).await.unwrap();
    assert_eq!(deleted.previous, Some(entry));
    assert_eq!(store.get(b"a").await.unwrap().entry, None);
    let again = store.write(Write::create("a", "3")).await.unwrap();
    let entry = store.get(b"a").await.unwrap().entry.unwrap();
    assert_eq!(entry.created, again.revision, "a key that comes back is a new one");
}

pub async fn every_write_has_the_next_revision(store: Subject) {
    let before = store.revision().await.unwrap();
    let first = put(&store, "a", "1").await;
    let second = put(&store, "b", "1").await;
    let third = delete(&store, "a").await;
    assert!(before < first && first < second && second < third);
    assert_eq!(store.revision().await.unwrap(), third);
}

pub async fn a_write_that_relies_on_another_key_needs_it_as_it_was_read(store: Subject) {
    let on = |key: &'static str, at: Revision| vec![crate::Guard { key: key.into(), at }];
    let first = put(&store, "holder", "1").await;
    store.write(Write::create("a", "1").guarded(on("holder", first))).await.unwrap();
    let second = put(&store, "holder", "2").await;
    let is_outdated = |error| matches!(error, StoreError::Outdated { key } if key == "holder");
    let write = |at| Write::create("b", "1").guarded(on("holder", at));
    assert!(is_outdated(store.write(write(first)).await.unwrap_err()));
    // What is wrong with the key itself is told first.
    let exists = store.write(Write::create("a", "2").guarded(on("holder", first))).await.unwrap_err();
    assert!(matches!(exists, StoreError::AlreadyExists { .. }));
    let both = [on("holder", second), on("none", second)].concat();
    assert!(store.write(Write::create("b", "1").guarded(both)).await.is_err());
    delete(&store, "holder").await;
    assert!(is_outdated(store.write(write(second)).await.unwrap_err()));
    assert_eq!(value(&store, "b").await, None);
    let third = put(&store, "holder", "3").await;
    store.write(write(third)).await.unwrap();
}

pub async fn a_failed_condition_changes_nothing_and_tells_what_is_there(store: Subject) {
    let at = put(&store, "a", "1").await;
    let exists = store.write(Write::create("a", "2")).await.unwrap_err();
    assert!(matches!(exists, StoreError::AlreadyExists { current } if current.modified == at));
    let stale = Revision(at.0 + 1000);
    let conflict = store.write(Write::update("a", "2", stale)).await.unwrap_err();
    assert!(
        matches!(conflict, StoreError::Conflict { expected, current } if current.modified == at && expected == stale)
    );
    let conflict = store.write(Write::delete("a", Expect::At(stale))).await.unwrap_err();
    assert!(matches!(conflict, StoreError::Conflict { .. }));
    for write in
        [Write::update("b", "2", at), Write::delete("b", Expect::At(at)), Write::delete("b", Expect::Any)]
    {
        let missing = store.write(write).await.unwrap_err();
        assert!(matches!(missing, StoreError::NotFound { key } if key == "b"));
    }
    assert_eq!(store.revision().await.unwrap(), at);
    assert_eq!(value(&store, "a").await.unwrap(), "1");
}

pub async fn of_concurrent_writers_with_one_expectation_one_wins(store: Subject) {
    let at = put(&store, "a", "0").await;
    let writers = (0..32).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.write(Write::update("a", writer.to_string(), at)).await })
    });
    let mut won = 0;
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, StoreError::Conflict { .. })),
        }
    }
    assert_eq!(won, 1);
}

pub async fn concurrent_increments_by_compare_and_swap_are_all_counted(store: Subject) {
    put(&store, "count", "0").await;
    let writers = (0..8).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut done = 0;
            while done < 20 {
                let entry = store.get(b"count").await.unwrap().entry.unwrap();
                let count: u32 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                let write = Write::update("count", (count + 1).to_string(), entry.modified);
                done += u32::from(store.write(write).await.is_ok());
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(value(&store, "count").await.unwrap(), "160");
}

pub async fn a_range_holds_the_prefix_in_the_order_of_keys(store: Subject) {
    for key in ["a/2", "a/1", "a/10", "b/1", "a", "a0"] {
        put(&store, key, "").await;
    }
    let page = store.range(Range::all("a/")).await.unwrap();
    assert_eq!(keys(&page), ["a/1", "a/10", "a/2"]);
    assert_eq!((page.more, page.remaining), (false, 0));
    assert_eq!(page.revision, store.revision().await.unwrap());
    assert_eq!(store.range(Range::all("")).await.unwrap().entries.len(), 6);
    assert!(store.range(Range::all("c")).await.unwrap().entries.is_empty());
    for prefix in ["", "a", "a/", "b", "c"] {
        let page = store.range(Range::all(prefix)).await.unwrap();
        let Some(pieces) = store.sections(prefix.as_bytes()).await.unwrap() else { continue };
        assert_eq!(pieces.revision, page.revision);
        assert!(pieces.sections.iter().flat_map(crate::Section::entries).eq(&page.entries), "{prefix}");
    }
}

pub async fn pages_at_one_revision_fit_together_while_keys_change(store: Subject) {
    for n in 0..25 {
        put(&store, &format!("k/{n:02}"), "old").await;
    }
    let mut range = Range { limit: 10, ..Range::all("k/") };
    let first = store.range(range.clone()).await.unwrap();
    assert_eq!((first.entries.len(), first.more, first.remaining), (10, true, 15));
    for key in ["k/03", "k/12", "k/24"] {
        delete(&store, key).await;
    }
    put(&store, "k/15", "new").await;
    put(&store, "k/155", "new").await;

    let mut seen = first.entries.clone();
    range.at = Some(first.revision);
    while range.start_after.as_ref() != seen.last().map(|entry| &entry.key) {
        range.start_after = seen.last().map(|entry| entry.key.clone());
        let page = store.range(range.clone()).await.unwrap();
        assert_eq!(page.revision, first.revision);
        seen.extend(page.entries);
    }
    let seen: Vec<_> = seen.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
    let expected: Vec<_> = (0..25).map(|n| (Bytes::from(format!("k/{n:02}")), Bytes::from("old"))).collect();
    assert_eq!(seen, expected);
}

pub async fn a_read_at_an_older_revision_sees_what_was(store: Subject) {
    let one = put(&store, "a", "1").await;
    let two = put(&store, "b", "1").await;
    let three = put(&store, "a", "2").await;
    let four = delete(&store, "b").await;
    for (at, expected) in [
        (one, vec![("a", "1")]),
        (two, vec![("a", "1"), ("b", "1")]),
        (three, vec![("a", "2"), ("b", "1")]),
        (four, vec![("a", "2")]),
    ] {
        let range = Range { at: Some(at), ..Range::all("") };
        let page = store.range(range).await.unwrap();
        let found: Vec<_> = page.entries.iter().map(|entry| (&entry.key[..], &entry.value[..])).collect();
        let expected: Vec<_> = expected.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
        assert_eq!(found, expected, "at {at}");
    }
}

pub async fn a_watch_gets_every_event_after_its_revision_in_order(store: Subject) {
    put(&store, "a/1", "1").await;
    let after = put(&store, "a/2", "1").await;
    let mut expected = Vec::new();
    for n in 0..1200 {
        expected.push(put(&store, &format!("a/{}", n % 7), "x").await);
    }
    expected.push(delete(&store, "a/1").await);
    let mut watch = store.watch("a/".into(), after).await.unwrap();
    let seen = events(&mut watch, expected.len()).await;
    let revisions: Vec<_> = seen.iter().map(|event| event.revision()).collect();
    assert_eq!(revisions, expected);
    assert_eq!(seen.last().unwrap().kind, EventKind::Delete);
}

pub async fn a_watch_gets_what_happens_later_below_its_prefix_only(store: Subject) {
    let after = put(&store, "a/1", "1").await;
    let mut watch = store.watch("a/".into(), after).await.unwrap();
    let writer = Arc::clone(&store);
    let writing = tokio::spawn(async move {
        for n in 0..50 {
            put(&writer, "b/1", &n.to_string()).await;
            put(&writer, "a/1", &n.to_string()).await;
        }
    });
    let mut values = Vec::new();
    while values.len() < 50 {
        let batch = next(&mut watch).await.unwrap();
        for event in &batch.events {
            assert!(event.entry.key.starts_with(b"a/"));
            assert!(event.revision() <= batch.revision);
            values.push(event.entry.value.clone());
        }
    }
    writing.await.unwrap();
    assert_eq!(values, (0..50).map(|n| Bytes::from(n.to_string())).collect::<Vec<_>>());
}

pub async fn an_event_carries_what_was_before(store: Subject) {
    let mut watch = store.watch("a".into(), store.revision().await.unwrap()).await.unwrap();
    let one = put(&store, "a", "1").await;
    let two = put(&store, "a", "2").await;
    let three = delete(&store, "a").await;
    let seen = events(&mut watch, 3).await;
    assert_eq!(seen[0].previous, None);
    assert_eq!(seen[1].previous.as_ref(), Some(&seen[0].entry));
    assert_eq!(seen[2].previous.as_ref(), Some(&seen[1].entry));
    let revisions: Vec<_> = seen.iter().map(|event| event.revision()).collect();
    assert_eq!(revisions, [one, two, three]);
    assert_eq!(seen[2].entry.key, "a");
    assert!(seen[2].entry.value.is_empty());
}

pub async fn a_watch_of_a_quiet_prefix_reports_progress(store: Subject) {
    let mut watch = store.watch("quiet/".into(), store.revision().await.unwrap()).await.unwrap();
    let at = put(&store, "loud", "1").await;
    let mut seen = Revision::ZERO;
    while seen < at {
        let batch = next(&mut watch).await.unwrap();
        assert!(batch.events.is_empty());
        seen = batch.revision;
    }
}

pub async fn a_watch_that_is_asked_says_how_far_it_has_come(store: Subject) {
    let mut watch = store.watch("quiet/".into(), store.revision().await.unwrap()).await.unwrap();
    let at = put(&store, "loud", "1").await;
    // A remote store may hear of it a moment later.
    let asked = async {
        loop {
            match watch.progress() {
                Some(batch) if batch.as_ref().unwrap().revision >= at => return batch.unwrap(),
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    let batch = tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap();
    assert!(batch.events.is_empty());
    let at = put(&store, "quiet/a", "1").await;
    assert_eq!(events(&mut watch, 1).await[0].revision(), at);
}

pub async fn compaction_ends_old_reads_and_old_watches_with_a_typed_error(store: Subject) {
    let one = put(&store, "a", "1").await;
    let two = put(&store, "a", "2").await;
    let three = put(&store, "a", "3").await;
    let mut slow = store.watch("a".into(), one).await.unwrap();
    store.compact(three).await.unwrap();
    store.compact(two).await.unwrap();
    let range = |at| Range { at: Some(at), ..Range::all("a") };
    let error = store.range(range(two)).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Compacted { requested, compacted } if requested == two && compacted == three)
    );
    let error = store.watch("a".into(), one).await.unwrap_err();
    assert!(matches!(error, StoreError::Compacted { compacted, .. } if compacted == three));
    // A remote store may have sent the slow watch its events before they were compacted.
    if let Err(error) = next(&mut slow).await {
        assert!(matches!(error, StoreError::Compacted { compacted, .. } if compacted == three));
    }
    assert_eq!(store.range(range(three)).await.unwrap().entries.len(), 1);
    assert_eq!(value(&store, "a").await.unwrap(), "3");
    assert_eq!(store.status().await.unwrap().compacted, three);
}

pub async fn a_watch_that_is_read_survives_compaction(store: Subject) {
    let mut watch = store.watch("a".into(), store.revision().await.unwrap()).await.unwrap();
    for n in 0..20 {
        let at = put(&store, "a", &n.to_string()).await;
        put(&store, "other", &n.to_string()).await;
        assert_eq!(events(&mut watch, 1).await[0].revision(), at);
        let last = put(&store, "other", "more").await;
        store.compact(last).await.unwrap();
    }
}

pub async fn revisions_of_the_future_are_refused(store: Subject) {
    let now = put(&store, "a", "1").await;
    let future = Revision(now.0 + 10);
    let range = Range { at: Some(future), ..Range::all("") };
    let refused = [
        store.range(range).await.err(),
        store.watch(Bytes::new(), future).await.err(),
        store.compact(future).await.err(),
    ];
    for error in refused {
        assert!(
            matches!(error, Some(StoreError::FutureRevision { requested, current }) if requested == future && current == now)
        );
    }
}

async fn put_leased(store: &Subject, key: &str, lease: crate::LeaseId) -> Revision {
    let op = Op::Put { value: "leased".into(), lease: Some(lease) };
    let write =
        Write { key: key.to_owned().into(), expect: Expect::Any, op, guards: Vec::new(), along: Vec::new() };
    store.write(write).await.unwrap().revision
}

pub async fn a_revoked_lease_takes_its_keys_with_it(store: Subject) {
    let lease = store.lease_grant(Duration::from_secs(600)).await.unwrap().id;
    let other = store.lease_grant(Duration::from_secs(600)).await.unwrap().id;
    assert_ne!(lease, other);
    for key in ["a", "b"] {
        put_leased(&store, key, lease).await;
    }
    let after = put_leased(&store, "c", other).await;
    assert_eq!(store.get(b"a").await.unwrap().entry.unwrap().lease, Some(lease));
    let mut watch = store.watch(Bytes::new(), after).await.unwrap();
    store.lease_revoke(lease).await.unwrap();
    let page = store.range(Range::all("")).await.unwrap();
    assert_eq!(keys(&page), ["c"]);
    let seen = events(&mut watch, 2).await;
    assert!(seen.iter().all(|event| event.kind == EventKind::Delete && event.previous.is_some()));

    let gone = |error| matches!(error, StoreError::LeaseNotFound { id } if id == lease);
    assert!(gone(store.lease_revoke(lease).await.unwrap_err()));
    assert!(gone(store.lease_keepalive(lease).await.unwrap_err()));
    let op = Op::Put { value: Bytes::new(), lease: Some(lease) };
    let write = Write { key: "d".into(), expect: Expect::Any, op, guards: Vec::new(), along: Vec::new() };
    assert!(gone(store.write(write).await.unwrap_err()));
}

pub async fn a_put_without_a_lease_detaches_the_key(store: Subject) {
    let lease = store.lease_grant(Duration::from_secs(600)).await.unwrap().id;
    put_leased(&store, "a", lease).await;
    put(&store, "a", "mine").await;
    store.lease_revoke(lease).await.unwrap();
    assert_eq!(value(&store, "a").await.unwrap(), "mine");
}

pub async fn a_lease_that_is_not_kept_alive_expires(store: Subject) {
    let lease = store.lease_grant(Duration::from_secs(1)).await.unwrap();
    assert_eq!(store.lease_keepalive(lease.id).await.unwrap().id, lease.id);
    let after = put_leased(&store, "a", lease.id).await;
    let mut watch = store.watch("a".into(), after).await.unwrap();
    let seen = events(&mut watch, 1).await;
    assert_eq!(seen[0].kind, EventKind::Delete);
    assert!(store.lease_keepalive(lease.id).await.is_err());
}

pub async fn the_status_tells_where_the_store_is(store: Subject) {
    put(&store, "a", "1").await;
    let at = put(&store, "bc", "23").await;
    let status = store.status().await.unwrap();
    assert_eq!((status.revision, status.entries), (at, 2));
    assert_eq!(status.refusing, None);
}

pub async fn what_is_written_along_happens_with_the_write_or_not_at_all(store: Subject) {
    let put = |value: &'static str| Op::Put { value: value.into(), lease: None };
    let along = |key: &'static str, expect, op| Along { key: key.into(), expect, op };
    let before = store.revision().await.unwrap();
    let mut watch = store.watch(Bytes::new(), before).await.unwrap();
    let with = |write: Write, change: Along| {
        let store = Arc::clone(&store);
        async move { store.write(write.along(vec![change])).await }
    };
    let written = with(Write::create("b", "1"), along("a", Expect::Absent, put("2"))).await.unwrap();
    assert_eq!(store.get(b"b").await.unwrap().entry.unwrap().modified, written.revision);
    let other = store.get(b"a").await.unwrap().entry.unwrap();
    assert!(other.value == "2" && other.modified <= written.revision && other.modified > before);
    let seen = events(&mut watch, 2).await;
    let mut seen: Vec<&[u8]> = seen.iter().map(|event| &event.entry.key[..]).collect();
    seen.sort_unstable();
    assert_eq!(seen, [b"a", b"b"]);

    let now = store.revision().await.unwrap();
    let outdated = |result: Result<crate::Written, StoreError>, wanted: &str| match result {
        Err(StoreError::Outdated { key }) => assert_eq!(key, wanted),
        other => panic!("{other:?}"),
    };
    outdated(with(Write::create("c", "1"), along("a", Expect::Absent, put("3"))).await, "a");
    outdated(with(Write::create("c", "1"), along("a", Expect::At(before), put("3"))).await, "a");
    outdated(with(Write::create("c", "1"), along("d", Expect::Any, Op::Delete)).await, "d");
    let taken = with(Write::create("b", "1"), along("e", Expect::Absent, put("3"))).await;
    assert!(matches!(taken, Err(StoreError::AlreadyExists { .. })), "{taken:?}");
    assert_eq!((value(&store, "c").await, value(&store, "e").await), (None, None));
    assert_eq!((value(&store, "a").await.unwrap(), store.revision().await.unwrap()), ("2".into(), now));

    let gone =
        with(Write::delete("b", Expect::Any), along("a", Expect::At(other.modified), Op::Delete)).await;
    assert_eq!(gone.unwrap().previous.unwrap().value, "1");
    assert!(store.range(Range::all("")).await.unwrap().entries.is_empty());
}
