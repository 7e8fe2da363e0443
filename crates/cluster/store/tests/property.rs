//! The embedded store against a plain map that keeps every state it ever had.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bytes::Bytes;
use hako_store::{
    Embedded, EmbeddedConfig, EventKind, Expect, HistoryLimits, Range, Revision, Store, StoreError, Write,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, expect: u8 },
    Delete { key: u8, expect: u8 },
    Compact { back: u64 },
    Reopen,
    ReadBack { back: u64, limit: usize, prefix: u8 },
    WatchBack { back: u64, prefix: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..12u8, 0..4u8).prop_map(|(key, expect)| Step::Put { key, expect }),
        4 => (0..12u8, 0..4u8).prop_map(|(key, expect)| Step::Delete { key, expect }),
        1 => (0..20u64).prop_map(|back| Step::Compact { back }),
        1 => Just(Step::Reopen),
        4 => (0..30u64, 0..5usize, 0..4u8).prop_map(|(back, limit, prefix)| Step::ReadBack { back, limit, prefix }),
        2 => (0..30u64, 0..4u8).prop_map(|(back, prefix)| Step::WatchBack { back, prefix }),
    ]
}

fn key(n: u8) -> String {
    format!("{}/{n:02}", n % 3)
}

fn prefix(n: u8) -> String {
    if n == 3 { String::new() } else { format!("{n}/") }
}

type Map = BTreeMap<String, (String, Revision)>;

/// Every state there ever was; the index is the revision.
struct Model {
    states: Vec<Map>,
    compacted: u64,
}

impl Model {
    fn now(&self) -> &Map {
        self.states.last().unwrap()
    }

    fn revision(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn expect(&self, key: &str, choice: u8) -> Expect {
        let current = self.now().get(key).map(|(_, modified)| *modified);
        match (choice, current) {
            (0, _) => Expect::Any,
            (1, _) => Expect::Absent,
            (2, Some(modified)) => Expect::At(modified),
            _ => Expect::At(Revision(self.revision() / 2)),
        }
    }

    fn accepts(&self, key: &str, expect: Expect, deletes: bool) -> bool {
        match (expect, self.now().get(key)) {
            (Expect::Absent, current) => current.is_none() && !deletes,
            (Expect::At(at), current) => current.is_some_and(|(_, modified)| *modified == at),
            (Expect::Any, current) => current.is_some() || !deletes,
        }
    }

    fn write(&mut self, key: &str, deletes: bool) -> Revision {
        let mut next = self.now().clone();
        let revision = Revision(self.revision() + 1);
        if deletes {
            next.remove(key);
        } else {
            next.insert(key.to_owned(), (format!("v{revision}"), revision));
        }
        self.states.push(next);
        revision
    }

    /// The events after a revision below a prefix: key, value or none, previous value.
    fn events(&self, after: u64, prefix: &str) -> Vec<(u64, String, Option<String>, Option<String>)> {
        let mut events = Vec::new();
        for revision in after + 1..=self.revision() {
            let (before, now) = (&self.states[revision as usize - 1], &self.states[revision as usize]);
            let mut keys = before.keys().chain(now.keys());
            let changed = keys.find(|key| before.get(*key) != now.get(*key)).unwrap();
            if changed.starts_with(prefix) {
                let value = |map: &Map| map.get(changed).map(|(value, _)| value.clone());
                events.push((revision, changed.clone(), value(now), value(before)));
            }
        }
        events
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn write(store: &Embedded, model: &mut Model, n: u8, choice: u8, deletes: bool) {
    let key = key(n);
    let expect = model.expect(&key, choice);
    let accepted = model.accepts(&key, expect, deletes);
    let write = if deletes {
        Write::delete(key.clone(), expect)
    } else {
        Write::put(key.clone(), format!("v{}", model.revision() + 1), expect)
    };
    let previous = model.now().get(&key).cloned();
    match store.write(write).await {
        Ok(written) => {
            assert!(accepted);
            assert_eq!(written.revision, model.write(&key, deletes));
            assert_eq!(written.previous.map(|entry| (text(&entry.value), entry.modified)), previous);
        }
        Err(_) => assert!(!accepted),
    }
}

async fn read_back(store: &Embedded, model: &Model, at: u64, limit: usize, prefix: &str) {
    let mut range = Range { limit, at: Some(Revision(at)), ..Range::all(prefix.to_owned()) };
    let mut seen = Vec::new();
    loop {
        let page = match store.range(range.clone()).await {
            Ok(page) => page,
            Err(error) => {
                assert!(matches!(error, StoreError::Compacted { .. }));
                assert!(at < model.compacted);
                return;
            }
        };
        seen.extend(
            page.entries.iter().map(|entry| (text(&entry.key), (text(&entry.value), entry.modified))),
        );
        range.start_after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more {
            break;
        }
    }
    let state = &model.states[at as usize];
    let expected: Vec<_> = state
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    assert_eq!(seen, expected);
}

async fn watch_back(store: &Embedded, model: &Model, after: u64, prefix: &str) {
    let mut watch = match store.watch(prefix.to_owned().into(), Revision(after)).await {
        Ok(watch) => watch,
        Err(error) => {
            assert!(matches!(error, StoreError::Compacted { .. }));
            assert!(after < model.compacted);
            return;
        }
    };
    let expected = model.events(after, prefix);
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        for event in watch.next().await.unwrap().unwrap().events {
            let value = (event.kind == EventKind::Put).then(|| text(&event.entry.value));
            let previous = event.previous.as_ref().map(|entry| text(&entry.value));
            seen.push((event.revision().0, text(&event.entry.key), value, previous));
        }
    }
    assert_eq!(seen, expected);
}

async fn run(steps: Vec<Step>, max_events: usize) {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig {
        history: HistoryLimits { max_events, ..HistoryLimits::default() },
        ..EmbeddedConfig::new(dir.path())
    };
    let mut store = Embedded::open_with(config.clone()).unwrap();
    let mut model = Model { states: vec![Map::new()], compacted: 0 };
    for step in steps {
        let back = |back: u64| model.revision().saturating_sub(back);
        match step {
            Step::Put { key, expect } => write(&store, &mut model, key, expect, false).await,
            Step::Delete { key, expect } => write(&store, &mut model, key, expect, true).await,
            Step::Compact { back: by } => store.compact(Revision(back(by))).await.unwrap(),
            Step::Reopen => {
                store.close().await;
                store = Embedded::open_with(config.clone()).unwrap();
            }
            Step::ReadBack { back: by, limit, prefix: n } => {
                read_back(&store, &model, back(by), limit, &prefix(n)).await
            }
            Step::WatchBack { back: by, prefix: n } => watch_back(&store, &model, back(by), &prefix(n)).await,
        }
        let status = store.status().await.unwrap();
        assert_eq!(status.revision.0, model.revision());
        assert_eq!(status.entries, model.now().len() as u64);
        model.compacted = status.compacted.0;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_does_what_a_plain_map_does(
        steps in proptest::collection::vec(step(), 1..120),
        max_events in prop_oneof![Just(5usize), Just(100_000)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps, max_events));
    }
}
