//! Time to a Ready node, and what the idle process uses.

use crate::process::{Platform, cpu_seconds, memory_kib};
use hako_benches::{Row, Target, median, ms};
use std::path::Path;
use std::time::{Duration, Instant};

pub fn start(hako: &Path) -> anyhow::Result<Vec<Row>> {
    let mut samples = Vec::new();
    let mut last = None;
    for _ in 0..7 {
        drop(last.take());
        let began = Instant::now();
        last = Some(Platform::start(hako)?);
        samples.push(ms(began.elapsed()));
    }
    let Some(platform) = last else { anyhow::bail!("nothing was started") };
    let pid = platform.pid()?;
    std::thread::sleep(Duration::from_secs(5));
    let (cpu, window) = (cpu_seconds(pid)?, Instant::now());
    std::thread::sleep(Duration::from_secs(20));
    let share = (cpu_seconds(pid)? - cpu) / window.elapsed().as_secs_f64() * 100.0;
    let resident = memory_kib(pid, &["Rss"])? / 1024.0;
    let known = "etcd + kube-apiserver, measured elsewhere on this class of machine: 2700 ms, 483 MB with controllers";
    println!("start: no kube-apiserver is packaged here; {known}");
    Ok(vec![
        row("hako up on an empty directory to a Ready node", median(samples), "ms", 300.0),
        row("resident memory of the idle process", resident, "MiB", 60.0),
        row("CPU of the idle process, share of a core", share, "%", 0.2),
    ])
}

fn row(what: &str, ours: f64, unit: &'static str, bound: f64) -> Row {
    Row { what: what.into(), ours, peer: None, unit, target: Target::AtMost(bound) }
}
