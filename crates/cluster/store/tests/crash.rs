//! kill -9 at random moments: nothing acknowledged is lost, nothing is half applied.
//!
//! This test runs its own executable again as the child that writes; the child reports every acknowledgement on
//! its standard output, the parent kills it, opens the store and compares.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hako_store::{Along, Embedded, EmbeddedConfig, Expect, HistoryLimits, Op, Range, Revision, Store, Write};

const DIR: &str = "HAKO_STORE_CRASH_DIR";
const TASKS: usize = 16;
const KILLS: u64 = 25;

fn config(dir: &std::path::Path) -> EmbeddedConfig {
    EmbeddedConfig {
        history: HistoryLimits { max_events: 500, ..HistoryLimits::default() },
        ..EmbeddedConfig::new(dir)
    }
}

/// What task `task` writes in its step `step`: nothing, or a value that no half write can pass for.
fn value(task: usize, step: u64) -> Option<String> {
    let size = (step as usize * 37 + task) % 3000;
    (!step.is_multiple_of(7)).then(|| format!("{task}:{step}:{}", "x".repeat(size)))
}

fn key(task: usize) -> String {
    format!("task/{task:02}")
}

/// The step that a key shows: the store keeps it in a second key that only ever grows.
fn step_of(value: &str) -> u64 {
    value.split(':').nth(1).unwrap().parse().unwrap()
}

async fn write_forever(store: Embedded, task: usize) {
    let mut step = match store.get(format!("{}/last", key(task)).as_bytes()).await.unwrap().entry {
        Some(entry) => step_of(std::str::from_utf8(&entry.value).unwrap()),
        None => 0,
    };
    loop {
        step += 1;
        let write = match value(task, step) {
            Some(value) => Write::put(key(task), value, Expect::Any),
            None => Write::delete(key(task), Expect::Any),
        };
        let last = Write::put(format!("{}/last", key(task)), format!("{task}:{step}:"), Expect::Any);
        // Before it in the order of keys and behind it, as a service has it with its address.
        let along = ["a", "z"].map(|place| {
            let op = Op::Put { value: format!("{task}:{step}:").into(), lease: None };
            Along { key: format!("{place}/{task:02}").into(), expect: Expect::Any, op }
        });
        let last = last.along(along.into());
        store.write(last).await.unwrap();
        // The first delete of all, or one repeated after a crash, finds nothing.
        let revision = store.write(write).await.map_or(0, |written| written.revision.0);
        let line = format!("ack {task} {step} {revision}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

/// Not a test by itself: what the child does.
#[test]
fn the_child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open_with(config(dir.as_ref())).unwrap();
        let tasks = (0..TASKS).map(|task| tokio::spawn(write_forever(store.clone(), task)));
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

/// Runs the child until it is killed; returns what it acknowledged last per task, and the newest revision.
fn run_and_kill(dir: &std::path::Path, after: Duration) -> (HashMap<usize, u64>, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_child_writes_until_it_is_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = HashMap::new();
    let mut newest = 0;
    let mut started = None;
    while let Some(Ok(line)) = lines.next() {
        let Some(ack) = line.strip_prefix("ack ") else {
            continue;
        };
        let fields: Vec<u64> = ack.split(' ').map_while(|field| field.parse().ok()).collect();
        if let [task, step, revision] = fields[..] {
            acknowledged.insert(task as usize, step);
            newest = newest.max(revision);
        }
        if started.get_or_insert_with(Instant::now).elapsed() >= after {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    (acknowledged, newest)
}

async fn verify(dir: &std::path::Path, acknowledged: &HashMap<usize, u64>, newest: u64) {
    let store = Embedded::open_with(config(dir)).unwrap();
    assert!(store.revision().await.unwrap() >= Revision(newest));
    for (task, acked) in acknowledged {
        let entry = store.get(key(*task).as_bytes()).await.unwrap().entry;
        let found = entry.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap());
        let possible = [value(*task, *acked), value(*task, acked + 1)];
        assert!(
            possible.contains(&found),
            "task {task} acknowledged step {acked}, found {:?}",
            found.map(|value| value.chars().take(20).collect::<String>())
        );
    }
    for task in 0..TASKS {
        let keys = [format!("{}/last", key(task)), format!("a/{task:02}"), format!("z/{task:02}")];
        let mut steps = Vec::new();
        for key in keys {
            let entry = store.get(key.as_bytes()).await.unwrap().entry;
            steps.push(entry.map(|entry| step_of(std::str::from_utf8(&entry.value).unwrap())));
        }
        assert!(steps.windows(2).all(|pair| pair[0] == pair[1]), "half a step of task {task}: {steps:?}");
    }
    // History is complete where it claims to be.
    let status = store.status().await.unwrap();
    let mut watch = store.watch("".into(), status.compacted).await.unwrap();
    let mut next = status.compacted.next();
    while next <= status.revision {
        for event in watch.next().await.unwrap().unwrap().events {
            assert_eq!(event.revision(), next);
            next = next.next();
        }
    }
    assert!(store.range(Range::all("")).await.unwrap().entries.len() <= 4 * TASKS);
    store.close().await;
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed_at_random_moments() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut acks = 0;
    for kill in 0..KILLS {
        let after = Duration::from_micros((kill * 7919) % 40_000);
        let (acknowledged, newest) = run_and_kill(dir.path(), after);
        acks += acknowledged.len();
        runtime.block_on(verify(dir.path(), &acknowledged, newest));
    }
    assert!(acks > TASKS, "the child got to work");
}
