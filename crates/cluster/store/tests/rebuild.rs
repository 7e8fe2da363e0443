//! The database's file follows what is in it, without anybody stopping for that.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use hako_store::{Embedded, EmbeddedConfig, Expect, HistoryLimits, Range, Store, Write};

const MIB: u64 = 1 << 20;

fn open(dir: &Path, max_events: usize) -> Embedded {
    let history = HistoryLimits { max_events, ..HistoryLimits::default() };
    Embedded::open_with(EmbeddedConfig { history, rebuild_from: 4 * MIB, ..EmbeddedConfig::new(dir) })
        .unwrap()
}

/// Writes `count` values to `keys` keys, by several at once.
async fn churn(store: &Embedded, keys: usize, count: usize, value: &Bytes) {
    let writers = (0..16).map(|writer| {
        let (store, value) = (store.clone(), value.clone());
        tokio::spawn(async move {
            for n in (writer..count).step_by(16) {
                let key = format!("key/{}", n % keys);
                store.write(Write::put(key, value.clone(), Expect::Any)).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

async fn disk_bytes(store: &Embedded) -> u64 {
    store.status().await.unwrap().disk_bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_stays_small_however_often_the_same_keys_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 200);
    let value = Bytes::from(vec![b'x'; 4 << 10]);
    churn(&store, 100, 8_000, &value).await;
    let (written, on_disk) = (8_000 * value.len() as u64, disk_bytes(&store).await);
    assert!(on_disk < 8 * MIB, "{} MiB on disk after {} MiB", on_disk / MIB, written / MIB);
    let status = store.status().await.unwrap();
    assert!(status.history.unwrap().events <= 216, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_shrinks_after_much_was_deleted_while_writes_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 100);
    churn(&store, 400, 400, &Bytes::from(vec![b'x'; 32 << 10])).await;
    assert!(disk_bytes(&store).await > 12 * MIB);
    for n in 0..400 {
        store.write(Write::delete(format!("key/{n}"), Expect::Any)).await.unwrap();
    }
    churn(&store, 10, 500, &Bytes::from_static(b"small")).await;
    let on_disk = disk_bytes(&store).await;
    assert!(on_disk <= 4 * MIB, "{} KiB", on_disk / 1024);
    let file = std::fs::metadata(dir.path().join("store.redb")).unwrap().len();
    assert_eq!(file, on_disk);
    let before = store.range(Range::all("")).await.unwrap();
    store.close().await;
    let again = open(dir.path(), 100);
    assert_eq!(again.range(Range::all("")).await.unwrap(), before);
}

const DIR: &str = "HAKO_STORE_REBUILD_DIR";
const RECORDS: usize = 500;

/// Not a test by itself: what the child does.
#[test]
fn the_child_writes_its_database_anew_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(&PathBuf::from(dir), 100);
        std::io::stdout().write_all(b"begun\n").unwrap();
        loop {
            store.scrub().await.unwrap();
        }
    });
}

#[test]
fn a_database_is_whole_whenever_the_process_is_killed_while_writing_it_anew() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let value = Bytes::from(vec![b'x'; 2048]);
    let before = runtime.block_on(async {
        let store = open(dir.path(), 100);
        churn(&store, RECORDS, RECORDS, &value).await;
        let page = store.range(Range::all("")).await.unwrap();
        store.close().await;
        page
    });
    let mut met = 0;
    for kill in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_child_writes_its_database_anew_until_it_is_killed", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().any(|line| line.unwrap().contains("begun")));
        // Where it is killed is chance, and that is meant.
        std::thread::sleep(Duration::from_micros(kill * 7_919 % 60_000));
        child.kill().unwrap();
        child.wait().unwrap();
        met += usize::from(dir.path().join("store.redb.new").exists());
        runtime.block_on(async {
            let store = open(dir.path(), 100);
            assert_eq!(store.range(Range::all("")).await.unwrap(), before);
            store.close().await;
        });
        assert!(!dir.path().join("store.redb.new").exists());
    }
    assert!(met > 0, "no kill met a database that was being written");
}
