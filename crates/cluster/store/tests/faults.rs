//! A disk that is full or fails: writes are refused and say why, reads go on, and nothing refused shows up later.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use hako_error::{Classify, Kind};
use hako_store::log::{Log, LogBatch, LogError, VisitRecord, VisitValue};
use hako_store::{Embedded, EmbeddedConfig, Expect, Range, Revision, Store, StoreError, Write};
use parking_lot::Mutex;

async fn put(store: &Embedded, key: String, value: Vec<u8>) -> Result<Revision, StoreError> {
    let written = store.write(Write::put(key, value, Expect::Any)).await?;
    Ok(written.revision)
}

/// Writes recover by themselves: tries until one is accepted.
async fn put_until_accepted(store: &Embedded, key: &str) -> Revision {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match put(store, key.to_owned(), b"new".to_vec()).await {
            Ok(revision) => return revision,
            Err(error) => assert!(Instant::now() < deadline, "still refused: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A small file system of its own, gone at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "mount a tmpfs (are you root?)");
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_by_name_keeps_reads_and_recovers_with_space() {
    let disk = SmallDisk::new("24m");
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 8 << 20]).unwrap();
    let dir = disk.path().join("store");
    let store = Embedded::open(&dir).unwrap();
    let mut accepted = Vec::new();
    let error = loop {
        let key = format!("k/{:05}", accepted.len());
        match put(&store, key, vec![7; 64 << 10]).await {
            Ok(revision) => accepted.push(revision),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Exhausted);
    assert!(error.to_string().contains(dir.to_str().unwrap()));
    assert!(store.status().await.unwrap().refusing.unwrap().contains("no space left"));
    assert!(accepted.len() > 10);

    let page = store.range(Range::all("k/")).await.unwrap();
    assert_eq!(page.entries.len(), accepted.len());
    assert_eq!(page.revision, *accepted.last().unwrap());

    std::fs::remove_file(&ballast).unwrap();
    let next = put_until_accepted(&store, "after").await;
    assert_eq!(next, accepted.last().unwrap().next(), "what was refused used up no revision");
    assert_eq!(store.status().await.unwrap().refusing, None);
    store.close().await;

    let store = Embedded::open(&dir).unwrap();
    let page = store.range(Range::all("k/")).await.unwrap();
    assert_eq!(page.entries.len(), accepted.len(), "what was refused is not there after a restart");
    assert_eq!(store.revision().await.unwrap(), next);
    store.close().await;
}

/// Eats the free space of a disk but for about `left` bytes.
fn fill(disk: &Path, left: usize) {
    use std::io::Write as _;
    let mut ballast = std::fs::File::create(disk.join("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    let used = ballast.metadata().unwrap().len();
    ballast.set_len(used - left as u64).unwrap();
}

#[tokio::test]
async fn a_full_disk_never_closes_the_store_however_much_is_left_and_however_large_the_value() {
    for left in [0, 16, 128, 1024] {
        for size in [10, 300_000] {
            let disk = SmallDisk::new("24m");
            let dir = disk.path().join("store");
            let store = Embedded::open(&dir).unwrap();
            let mut accepted = BTreeMap::new();
            for n in 0..40 {
                let key = format!("k/{n:05}");
                accepted.insert(key.clone(), put(&store, key, vec![7; 3000]).await.unwrap());
            }
            fill(disk.path(), left << 10);
            let mut refused = 0;
            for n in 0..2000 {
                let key = format!("l/{n:05}");
                match put(&store, key.clone(), vec![8; size]).await {
                    Ok(revision) => drop(accepted.insert(key, revision)),
                    Err(error) => {
                        assert!(matches!(error, StoreError::DiskFull { .. }), "{left} KiB, {size}: {error}");
                        refused += 1;
                        // Once at once, once after the database was opened again.
                        tokio::time::sleep(Duration::from_millis(110)).await;
                    }
                }
                if refused == 3 {
                    break;
                }
            }
            let last = *accepted.values().max().unwrap();
            assert_eq!(store.revision().await.unwrap(), last);
            assert_eq!(store.range(Range::all("")).await.unwrap().entries.len(), accepted.len());

            std::fs::remove_file(disk.path().join("ballast")).unwrap();
            let next = put_until_accepted(&store, "after").await;
            assert_eq!(next, last.next(), "what was refused used up no revision");
            put(&store, "large".into(), vec![9; 300_000]).await.unwrap();
            assert_eq!(store.status().await.unwrap().refusing, None);
            store.close().await;
            let store = Embedded::open(&dir).unwrap();
            assert_eq!(store.range(Range::all("")).await.unwrap().entries.len(), accepted.len() + 2);
        }
    }
}

/// How the fake disk behaves.
const WORKS: u8 = 0;
const FAILS: u8 = 1;
/// The database panics.
const PANICS: u8 = 3;
/// The commit reaches the disk and still reports a failure, as a failed fsync may.
const FAILS_AFTERWARDS: u8 = 2;

#[derive(Default)]
struct Disk {
    mode: AtomicU8,
    records: Mutex<BTreeMap<u64, Vec<u8>>>,
    values: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// How many records there were when it was last asked to work ahead.
    prepared: tokio::sync::watch::Sender<usize>,
}

struct FakeLog(Arc<Disk>);

impl Log for FakeLog {
    fn load(&self, record: VisitRecord<'_>, value: VisitValue<'_>) -> Result<(), LogError> {
        for (name, bytes) in self.0.values.lock().iter() {
            value(name, bytes)?;
        }
        for (revision, bytes) in self.0.records.lock().iter() {
            record(*revision, bytes)?;
        }
        Ok(())
    }

    fn commit(&mut self, batch: &LogBatch) -> Result<(), LogError> {
        let mode = self.0.mode.load(Ordering::SeqCst);
        if mode == FAILS {
            return Err(LogError::Failed("input/output error".into()));
        }
        assert_ne!(mode, PANICS, "the database panics");
        let mut records = self.0.records.lock();
        if let Some(from) = batch.truncate_from {
            records.split_off(&from);
        }
        for (revision, bytes) in &batch.appends {
            assert!(records.insert(*revision, bytes.to_vec()).is_none(), "a record is written once");
        }
        for revision in &batch.removes {
            records.remove(revision);
        }
        for (name, value) in &batch.values {
            match value {
                Some(value) => self.0.values.lock().insert(name.clone(), value.clone()),
                None => self.0.values.lock().remove(name),
            };
        }
        if mode == FAILS_AFTERWARDS {
            return Err(LogError::Failed("fsync failed".into()));
        }
        Ok(())
    }

    fn prepare(&mut self) {
        self.0.prepared.send_replace(self.0.records.lock().len());
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}

fn open_on(disk: &Arc<Disk>) -> (Embedded, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::clone(disk);
    let config = EmbeddedConfig::new(dir.path());
    let opener = move |_: &Path| Ok(Box::new(FakeLog(Arc::clone(&disk))) as Box<dyn Log>);
    (Embedded::open_on(config, Box::new(opener)).unwrap(), dir)
}

#[tokio::test]
async fn a_write_that_was_refused_does_not_show_up_later_even_if_it_reached_the_disk() {
    for mode in [FAILS, FAILS_AFTERWARDS, PANICS] {
        let disk = Arc::new(Disk::default());
        let (store, _dir) = open_on(&disk);
        let first = put(&store, "a".into(), b"1".to_vec()).await.unwrap();
        let mut watch = store.watch("".into(), first).await.unwrap();
        disk.mode.store(mode, Ordering::SeqCst);
        let error = put(&store, "a".into(), b"refused".to_vec()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(store.lease_grant(Duration::from_secs(60)).await.is_err());
        assert_eq!(store.revision().await.unwrap(), first);

        disk.mode.store(WORKS, Ordering::SeqCst);
        let next = put_until_accepted(&store, "b").await;
        assert_eq!(next, first.next());
        let batch = watch.next().await.unwrap().unwrap();
        assert_eq!(batch.events[0].entry.key, "b", "no watcher saw what was refused");
        store.close().await;

        let (store, _dir) = open_on(&disk);
        assert_eq!(store.get(b"a").await.unwrap().entry.unwrap().value, "1");
        assert_eq!(store.revision().await.unwrap(), next);
    }
}

#[tokio::test]
async fn after_each_write_the_log_works_ahead_while_nobody_waits() {
    let disk = Arc::new(Disk::default());
    let (store, _dir) = open_on(&disk);
    for count in 1..4 {
        put(&store, format!("k{count}"), b"1".to_vec()).await.unwrap();
        disk.prepared.subscribe().wait_for(|prepared| *prepared == count).await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_that_rests_on_a_failed_write_reports_the_disk_instead() {
    let disk = Arc::new(Disk::default());
    let (store, _dir) = open_on(&disk);
    disk.mode.store(FAILS, Ordering::SeqCst);
    let create = || store.write(Write::create("a", "1"));
    let (one, two) = tokio::join!(create(), create());
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert!(matches!(error, StoreError::Disk { .. }), "{error}");
    }
    disk.mode.store(WORKS, Ordering::SeqCst);
    put_until_accepted(&store, "a").await;
}

#[tokio::test]
async fn a_gap_in_the_log_is_damage_and_not_silently_skipped() {
    let disk = Arc::new(Disk::default());
    let (store, _dir) = open_on(&disk);
    for n in 0..5 {
        put(&store, format!("k{n}"), b"1".to_vec()).await.unwrap();
    }
    store.close().await;
    disk.records.lock().remove(&3);
    let dir = tempfile::tempdir().unwrap();
    let opener = move |_: &Path| Ok(Box::new(FakeLog(Arc::clone(&disk))) as Box<dyn Log>);
    let error = Embedded::open_on(EmbeddedConfig::new(dir.path()), Box::new(opener)).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }));
    assert!(error.to_string().contains("revision 3 is missing"));
}

#[tokio::test]
async fn a_database_that_cannot_be_written_anew_goes_on_as_it_is() {
    let disk = Arc::new(Disk::default());
    let (store, _dir) = open_on(&disk);
    put(&store, "a".into(), b"1".to_vec()).await.unwrap();
    let error = store.scrub().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    put(&store, "a".into(), b"2".to_vec()).await.unwrap();
    assert_eq!(store.status().await.unwrap().refusing, None);
}
