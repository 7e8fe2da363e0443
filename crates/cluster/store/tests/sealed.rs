//! Sealed records: the contract, what lies on the disk, and the change of keys.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use hako_error::{Classify as _, Kind};
use hako_store::{
    Embedded, EmbeddedConfig, EventKind, Expect, Range, Revision, Sealed, Settled, Store, StoreError, Write,
};

const PREFIX: &str = "s/";
const SECRET: &str = "the-plain-text-that-nobody-may-find";

struct World {
    dir: tempfile::TempDir,
    embedded: Embedded,
    store: Sealed,
}

impl World {
    async fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap()).await
    }

    async fn on(dir: tempfile::TempDir) -> Self {
        let embedded = Embedded::open(dir.path().join("store")).unwrap();
        let store = sealed(embedded.clone(), &keys(dir.path())).await;
        Self { dir, embedded, store }
    }

    /// As if the process had ended and come again.
    async fn again(self) -> Self {
        let Self { dir, embedded, store } = self;
        embedded.close().await;
        drop((embedded, store));
        Self::on(dir).await
    }

    fn keys(&self) -> PathBuf {
        keys(self.dir.path())
    }

    async fn put(&self, key: &str, value: &str) -> Revision {
        put(&self.store, key, value).await
    }

    async fn value(&self, key: &str) -> Result<Bytes, StoreError> {
        Ok(self.store.get(key.as_bytes()).await?.entry.unwrap().value.clone())
    }

    /// Whether a text lies in any file.
    fn is_on_disk(&self, text: &str) -> bool {
        is_below(self.dir.path(), text.as_bytes())
    }
}

fn keys(dir: &Path) -> PathBuf {
    dir.join("pki/sealing.keys")
}

async fn sealed(store: impl Store, keys: &Path) -> Sealed {
    Sealed::open(Arc::new(store), keys.to_owned(), vec![PREFIX.into()]).await.unwrap()
}

async fn put(store: &dyn Store, key: &str, value: &str) -> Revision {
    store.write(Write::put(key.to_owned(), value.to_owned(), Expect::Any)).await.unwrap().revision
}

fn is_below(dir: &Path, text: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().flatten().any(|entry| match entry.file_type().unwrap().is_dir() {
        true => is_below(&entry.path(), text),
        false => std::fs::read(entry.path()).unwrap().windows(text.len()).any(|window| window == text),
    })
}

/// The contract's keys have no prefix of their own, so all are sealed here.
async fn contract() -> (Sealed, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig {
        progress_interval: std::time::Duration::from_millis(20),
        ..EmbeddedConfig::new(dir.path().join("store"))
    };
    let embedded = Embedded::open_with(config).unwrap();
    (Sealed::open(Arc::new(embedded), keys(dir.path()), vec![Bytes::new()]).await.unwrap(), dir)
}

hako_store::contract_suite!(contract());

#[tokio::test]
async fn what_is_sealed_lies_nowhere_on_the_disk_and_all_else_does() {
    let world = World::new().await;
    world.put("s/a", SECRET).await;
    world.put("other/a", "that-everybody-may-find").await;
    world.put("s/a", &format!("{SECRET} again")).await;
    world.store.write(Write::delete("s/a", Expect::Any)).await.unwrap();
    world.put("s/b", SECRET).await;
    assert_eq!(world.value("s/b").await.unwrap(), SECRET);
    let world = world.again().await;
    assert!(!world.is_on_disk(SECRET));
    assert!(world.is_on_disk("that-everybody-may-find"));
    assert_eq!(world.value("s/b").await.unwrap(), SECRET);
    let mode = std::fs::metadata(world.keys()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn what_was_written_before_there_was_sealing_is_sealed_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let plain = Embedded::open(dir.path().join("store")).unwrap();
    put(&plain, "s/a", &format!("{SECRET} once")).await;
    put(&plain, "s/a", SECRET).await;
    put(&plain, "s/gone", SECRET).await;
    plain.write(Write::delete("s/gone", Expect::Any)).await.unwrap();
    plain.close().await;
    drop(plain);
    let world = World::on(dir).await;
    assert!(world.is_on_disk(SECRET));
    assert_eq!(world.value("s/a").await.unwrap(), SECRET);
    assert_eq!(world.store.settle().await.unwrap(), Settled { rewritten: 1, was_plain: 1 });
    assert!(!world.is_on_disk(SECRET));
    assert_eq!(world.store.settle().await.unwrap(), Settled::default());
    let world = world.again().await;
    assert_eq!(world.value("s/a").await.unwrap(), SECRET);
    assert!(!world.is_on_disk(SECRET));
}

#[tokio::test]
async fn watchers_see_what_was_written_and_what_was_before() {
    let world = World::new().await;
    let after = world.put("s/a", "1").await;
    let mut watch = world.store.watch("".into(), after).await.unwrap();
    world.put("s/a", "2").await;
    world.store.write(Write::delete("s/a", Expect::Any)).await.unwrap();
    let mut events = Vec::new();
    while events.len() < 2 {
        events.extend(watch.next().await.unwrap().unwrap().events);
    }
    let previous = |at: usize| events[at].previous.as_ref().unwrap().value.clone();
    assert_eq!((events[0].entry.value.clone(), previous(0)), ("2".into(), "1".into()));
    assert_eq!((events[1].kind, previous(1)), (EventKind::Delete, "2".into()));
}

#[tokio::test]
async fn a_change_of_keys_rewrites_everything_while_others_write_and_forgets_the_old_key() {
    let world = World::new().await;
    for n in 0..200 {
        world.put(&format!("s/{n}"), &format!("value {n}")).await;
    }
    let old = world.store.key_ids().await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = world.store.clone();
            tokio::spawn(async move {
                for n in 0..50 {
                    put(&store, &format!("s/new-{writer}-{n}"), "new").await;
                    put(&store, &format!("s/{n}"), &format!("changed by {writer}")).await;
                }
            })
        })
        .collect();
    let new = world.store.add_key().await.unwrap();
    let settled = world.store.settle().await.unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(settled.rewritten >= 150, "{settled:?}");
    assert_eq!(world.store.key_ids().await.unwrap(), [new]);
    assert!(!world.is_on_disk(&old[0]), "the old key is gone");
    // All of it opens with the new key alone, also after a restart.
    let world = world.again().await;
    let page = world.store.range(Range::all(PREFIX)).await.unwrap();
    assert_eq!(page.entries.len(), 400);
    assert!(page.entries.iter().all(|entry| {
        [&b"value"[..], b"changed", b"new"].iter().any(|start| entry.value.starts_with(start))
    }));
}

#[tokio::test]
async fn a_change_that_was_begun_goes_on_at_the_next_start() {
    let world = World::new().await;
    world.put("s/a", SECRET).await;
    world.store.add_key().await.unwrap();
    let world = world.again().await;
    assert_eq!(world.store.key_ids().await.unwrap().len(), 2);
    assert_eq!(world.value("s/a").await.unwrap(), SECRET, "the old key opens");
    assert_eq!(world.store.settle().await.unwrap().rewritten, 1);
    assert_eq!(world.store.key_ids().await.unwrap().len(), 1);
    assert_eq!(world.value("s/a").await.unwrap(), SECRET);
}

#[tokio::test]
async fn without_its_keys_what_is_sealed_is_refused_by_name_and_all_else_works() {
    let world = World::new().await;
    world.put("s/a", SECRET).await;
    world.put("other/a", "1").await;
    let path = world.keys();
    let away = path.with_extension("away");
    std::fs::rename(&path, &away).unwrap();
    let world = world.again().await;
    assert!(!path.exists(), "no new keys are made where some are missing");
    let read = world.value("s/a").await.unwrap_err();
    let write = world.store.write(Write::create("s/b", "x")).await.unwrap_err();
    for error in [read, write] {
        assert_eq!(error.kind(), Kind::Unavailable);
        let text = error.to_string();
        assert!(text.contains("sealing.keys") && text.contains("put that file back"), "{text}");
    }
    assert_eq!(world.value("other/a").await.unwrap(), "1");
    world.put("other/a", "2").await;
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(world.again().await.value("s/a").await.unwrap(), SECRET);
}

#[tokio::test]
async fn damaged_keys_are_told_and_left_as_they_are() {
    let world = World::new().await;
    world.put("s/a", SECRET).await;
    let path = world.keys();
    std::fs::write(&path, "rubbish\n").unwrap();
    let world = world.again().await;
    let text = world.value("s/a").await.unwrap_err().to_string();
    assert!(text.contains("sealing.keys") && text.contains("no key"), "{text}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "rubbish\n");
}

#[tokio::test]
async fn a_record_of_another_key_is_named_and_the_others_are_read() {
    let world = World::new().await;
    world.put("s/a", SECRET).await;
    let strange = World::new().await;
    strange.put("s/a", SECRET).await;
    let foreign = strange.embedded.get(b"s/a").await.unwrap().entry.unwrap().value.clone();
    world.embedded.write(Write::create("s/foreign", foreign)).await.unwrap();
    let moved = world.embedded.get(b"s/a").await.unwrap().entry.unwrap().value.clone();
    world.embedded.write(Write::create("s/moved", moved)).await.unwrap();
    for (key, reason) in [("s/foreign", "which is not in"), ("s/moved", "it is damaged")] {
        let error = world.value(key).await.unwrap_err();
        assert_eq!(error.kind(), Kind::DataLoss);
        assert!(error.to_string().contains(key) && error.to_string().contains(reason), "{error}");
    }
    assert_eq!(world.value("s/a").await.unwrap(), SECRET);
    let mut watch = world.store.watch("s/".into(), Revision::ZERO).await.unwrap();
    assert!(matches!(watch.next().await, Some(Err(StoreError::Unreadable { .. }))));
    assert!(watch.next().await.is_none());
    // A change of keys goes as far as it can and keeps what it may still need.
    world.store.add_key().await.unwrap();
    assert!(matches!(world.store.settle().await, Err(StoreError::Unreadable { .. })));
    assert_eq!(world.value("s/a").await.unwrap(), SECRET);
    assert_eq!(world.store.key_ids().await.unwrap().len(), 2);
}

const DIR: &str = "HAKO_STORE_SEALED_DIR";
const RECORDS: usize = 300;

/// Not a test by itself: what the child does.
#[test]
fn the_child_changes_keys_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = PathBuf::from(dir);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let embedded = Embedded::open(dir.join("store")).unwrap();
        let store = sealed(embedded, &keys(&dir)).await;
        std::io::stdout().write_all(b"begun\n").unwrap();
        loop {
            store.settle().await.unwrap();
            store.add_key().await.unwrap();
        }
    });
}

#[test]
fn every_record_opens_whenever_the_process_is_killed_in_a_change_of_keys() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let embedded = Embedded::open(dir.path().join("store")).unwrap();
        let store = sealed(embedded.clone(), &keys(dir.path())).await;
        for n in 0..RECORDS {
            put(&store, &format!("s/{n}"), &format!("value {n}")).await;
        }
        embedded.close().await;
    });
    let mut seen = std::collections::BTreeSet::new();
    for kill in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_child_changes_keys_until_it_is_killed", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().any(|line| line.unwrap().contains("begun")));
        // Where it is killed is chance, and that is meant.
        std::thread::sleep(std::time::Duration::from_micros(kill * 7_919 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        runtime.block_on(async {
            let embedded = Embedded::open(dir.path().join("store")).unwrap();
            let store = sealed(embedded.clone(), &keys(dir.path())).await;
            seen.insert(store.key_ids().await.unwrap().len());
            let page = store.range(Range::all(PREFIX)).await.unwrap();
            assert_eq!(page.entries.len(), RECORDS);
            for entry in page.entries {
                let number = std::str::from_utf8(&entry.key).unwrap().trim_start_matches(PREFIX).to_owned();
                assert_eq!(entry.value, format!("value {number}"));
            }
            embedded.close().await;
        });
    }
    assert!(seen.contains(&2), "no kill met a change under way");
}
