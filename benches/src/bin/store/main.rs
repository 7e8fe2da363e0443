//! The embedded store on each database it could stand on, side by side in one run, every one in its own process:
//! durable 1 KiB writes from 32 writers through the whole `Store` trait, then 100,000 objects, kill -9 and reopen;
//! and a million small objects on ours, kill -9 and reopen, with what that takes.
//!
//! `store [SECONDS] [DIR]` prints a row per figure and peer.

#![expect(clippy::print_stdout, reason = "printing figures is what it does")]

mod fjall;
mod sqlite;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hako_benches::{Row, Target, median, ms};
use hako_store::{Embedded, EmbeddedConfig, Expect, Store, Write};
use serde::{Deserialize, Serialize};

const OURS: &str = "redb";
const PEERS: [&str; 2] = ["fjall", "sqlite"];
const WRITERS: usize = 32;
const VALUE_BYTES: usize = 1024;
const KEYS: u64 = 10_000;
const OBJECTS: u64 = 100_000;
const MILLION: u64 = 1_000_000;
const SMALL_BYTES: usize = 256;

#[derive(Debug, Default, Deserialize, Serialize)]
struct Load {
    writes_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    max_ms: f64,
    rss_mib: f64,
    disk_mib: f64,
    cpu_us_per_write: f64,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Reopen {
    open_ms: f64,
    rss_mib: f64,
    disk_mib: f64,
    objects: u64,
    /// Of keys and values.
    bytes_mib: f64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["load", database, dir, seconds] => print(&load(database, dir, seconds.parse()?)?),
        ["fill", database, dir] => fill(database, dir, OBJECTS, VALUE_BYTES),
        ["million", dir] => fill(OURS, dir, MILLION, SMALL_BYTES),
        ["reopen", database, dir] => print(&reopen(database, dir)?),
        [] => compare(5, &std::env::temp_dir()),
        [seconds] => compare(seconds.parse()?, &std::env::temp_dir()),
        [seconds, dir] => compare(seconds.parse()?, Path::new(dir)),
        _ => bail!("usage: store [SECONDS] [DIR]"),
    }
}

fn print(figures: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}

/// Runs one measurement in a process of its own.
fn measure<T: serde::de::DeserializeOwned>(args: &[&str]) -> Result<T> {
    let output = Command::new(std::env::current_exe()?).args(args).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{args:?} failed: {}", output.status);
    serde_json::from_str(&text).with_context(|| format!("{args:?} printed {text:?}"))
}

fn compare(seconds: u64, parent: &Path) -> Result<()> {
    let mut results = Vec::new();
    for database in [OURS].iter().chain(&PEERS) {
        let dir = tempfile::tempdir_in(parent)?;
        let path = dir.path().to_str().context("the directory is no text")?;
        let load: Load = measure(&["load", database, &format!("{path}/load"), &seconds.to_string()])?;
        let filled = format!("{path}/fill");
        let _killed = Command::new(std::env::current_exe()?).args(["fill", database, &filled]).status()?;
        let reopen: Reopen = measure(&["reopen", database, &filled])?;
        println!("# {database}: {load:?} {reopen:?}");
        results.push((load, reopen));
    }
    million(parent)?;
    let sync_ms = sync_ms(parent)?;
    let (ours, ours_reopen) = &results[0];
    for (peer, (load, reopen)) in PEERS.iter().zip(&results[1..]) {
        let name = |figure: &str| format!("store {figure}");
        for row in [
            writes(ours, peer, load, sync_ms),
            beside(name("write, 99th percentile"), peer, ours.p99_us, load.p99_us, "us"),
            beside(name("resident memory under load"), peer, ours.rss_mib, load.rss_mib, "MiB"),
            beside(name("disk after the load"), peer, ours.disk_mib, load.disk_mib, "MiB"),
            beside(name("reopen 100,000 objects"), peer, ours_reopen.open_ms, reopen.open_ms, "ms"),
        ] {
            row.print();
        }
    }
    Ok(())
}

/// A million small objects: how long a start takes, and how much memory beside what they have.
fn million(parent: &Path) -> Result<()> {
    let dir = tempfile::tempdir_in(parent)?;
    let path = dir.path().to_str().context("the directory is no text")?;
    let _killed = Command::new(std::env::current_exe()?).args(["million", path]).status()?;
    let reopen: Reopen = measure(&["reopen", OURS, path])?;
    ensure!(reopen.objects == MILLION, "{reopen:?}");
    let row = |what: &str, ours, unit, limit| Row {
        what: format!("store {what}"),
        ours,
        peer: None,
        unit,
        target: Target::AtMost(limit),
        why: String::new(),
    };
    row("start with 1,000,000 small objects after kill -9", reopen.open_ms, "ms", 10_000.0).print();
    let ratio = reopen.rss_mib / reopen.bytes_mib;
    row("resident memory then, in their bytes", ratio, "x", 2.5).print();
    Ok(())
}

fn beside(what: String, peer: &str, ours: f64, theirs: f64, unit: &'static str) -> Row {
    Row { what, ours, peer: Some((peer.into(), theirs)), unit, target: Target::None, why: String::new() }
}

/// The promise, and which of disk and cores bounds it here.
fn writes(ours: &Load, peer: &str, theirs: &Load, sync_ms: f64) -> Row {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let why = format!(
        "an fdatasync takes {sync_ms:.2} ms here and makes at most {WRITERS} writes durable, so that {:.0} a second are \
         the disk's bound; a write takes {:.0} us of CPU, so that {:.0} are that of {cores} cores",
        WRITERS as f64 * 1e3 / sync_ms,
        ours.cpu_us_per_write,
        cores as f64 * 1e6 / ours.cpu_us_per_write,
    );
    let what = format!("store durable 1 KiB writes from {WRITERS} writers");
    let row = beside(what, peer, ours.writes_per_s, theirs.writes_per_s, "1/s");
    Row { target: Target::AtLeast(30_000.0), why, ..row }
}

/// The median time of appending 4 KiB and an fdatasync; milliseconds.
fn sync_ms(parent: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(parent)?;
    let mut samples = Vec::new();
    for _ in 0..200 {
        file.write_all(&[1; 4096])?;
        let began = Instant::now();
        file.sync_data()?;
        samples.push(ms(began.elapsed()));
    }
    Ok(median(samples))
}

fn open(database: &str, dir: &str) -> Result<Embedded> {
    let config = EmbeddedConfig::new(dir);
    Ok(match database {
        OURS => Embedded::open_with(config)?,
        "fjall" => Embedded::open_on(config, Box::new(fjall::open))?,
        "sqlite" => Embedded::open_on(config, Box::new(sqlite::open))?,
        other => bail!("unknown database {other}"),
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn load(database: &str, dir: &str, seconds: u64) -> Result<Load> {
    runtime()?.block_on(async {
        let store = open(database, dir)?;
        let stop = Arc::new(AtomicBool::new(false));
        let started = Instant::now();
        let cpu_before = cpu_us()?;
        let writers = (0..WRITERS as u64).map(|writer| {
            let (store, stop) = (store.clone(), Arc::clone(&stop));
            tokio::spawn(async move { write_until(store, stop, writer).await })
        });
        let writers: Vec<_> = writers.collect();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.store(true, Ordering::Relaxed);
        let mut latencies = Vec::new();
        for writer in writers {
            latencies.extend(writer.await??);
        }
        let elapsed = started.elapsed().as_secs_f64();
        let cpu = cpu_us()? - cpu_before;
        latencies.sort_unstable();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
        Ok(Load {
            writes_per_s: latencies.len() as f64 / elapsed,
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_ms: at(1.0) / 1000.0,
            rss_mib: rss_mib()?,
            disk_mib: disk_mib(dir)?,
            cpu_us_per_write: cpu / latencies.len() as f64,
        })
    })
}

async fn write_until(store: Embedded, stop: Arc<AtomicBool>, writer: u64) -> Result<Vec<u64>> {
    let mut latencies = Vec::new();
    let mut n = writer;
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        store.write(object(n % KEYS, n, VALUE_BYTES)).await?;
        latencies.push(u64::try_from(started.elapsed().as_nanos())?);
        n += WRITERS as u64;
    }
    Ok(latencies)
}

fn object(key: u64, seed: u64, bytes: usize) -> Write {
    let mut value = Vec::with_capacity(bytes);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while value.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend_from_slice(&state.to_le_bytes());
    }
    Write::put(format!("/registry/core/pods/default/web-{key:08}"), value, Expect::Any)
}

/// Writes all objects, then goes on writing until it kills itself in the middle of that.
fn fill(database: &str, dir: &str, objects: u64, value_bytes: usize) -> Result<()> {
    runtime()?.block_on(async {
        let store = open(database, dir)?;
        let next = Arc::new(AtomicU64::new(0));
        let writers = (0..4 * WRITERS).map(|_| {
            let (store, next) = (store.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    store.write(object(n % objects, n, value_bytes)).await?;
                    if n == objects + objects / 10 {
                        kill_self()?;
                    }
                }
                #[expect(unreachable_code, reason = "names the error type")]
                anyhow::Ok(())
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await??;
        }
        Ok(())
    })
}

fn kill_self() -> Result<()> {
    let pid = std::process::id().to_string();
    Command::new("kill").args(["-9", &pid]).status()?;
    Ok(())
}

fn reopen(database: &str, dir: &str) -> Result<Reopen> {
    runtime()?.block_on(async {
        let started = Instant::now();
        let store = open(database, dir)?;
        let open_ms = started.elapsed().as_secs_f64() * 1000.0;
        let status = store.status().await?;
        Ok(Reopen {
            open_ms,
            rss_mib: rss_mib()?,
            disk_mib: disk_mib(dir)?,
            objects: status.entries,
            bytes_mib: status.bytes as f64 / f64::from(1 << 20),
        })
    })
}

fn rss_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}

/// User and system time of this process in µs; the kernel counts in ticks of 10 ms.
fn cpu_us() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().context("stat makes no sense")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks * 10_000.0)
}

fn disk_mib(dir: &str) -> Result<f64> {
    let output = Command::new("du").args(["-sk", dir]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let kib: f64 = text.split_whitespace().next().context("du said nothing")?.parse()?;
    Ok(kib / 1024.0)
}
