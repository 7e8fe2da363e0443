//! Time to a Ready node, and what the idle process uses, beside an API server of upstream's.

use crate::process::{Busy, Platform, cpu_seconds, memory_kib};
use crate::upstream::{self, NAME, Upstream};
use hako_benches::{Row, Target, median, ms};
use std::path::Path;
use std::time::{Duration, Instant};

const ROUNDS: usize = 7;

pub fn start(hako: &Path) -> anyhow::Result<Vec<Row>> {
    let is_installed = upstream::is_installed();
    let (mut ours, mut theirs, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for _ in 0..ROUNDS {
        drop(last.take());
        let (began, share) = (Instant::now(), Busy::start()?);
        let platform = Platform::start(hako)?;
        ours.push(ms(began.elapsed()));
        busy.push(share.percent()?);
        let upstream = if is_installed { Some(Upstream::start()?) } else { None };
        theirs.extend(upstream.as_ref().map(|upstream| upstream.ready_ms));
        last = Some((platform, upstream));
    }
    let Some((platform, upstream)) = last else { anyhow::bail!("nothing was started") };
    let busy = format!("the machine's cores were {:.0} % busy meanwhile, by all that runs", median(busy));
    let theirs = upstream.as_ref().map(|_| median(theirs));
    let ready = "hako up on an empty directory to a Ready node";
    let mut rows = vec![row(ready, median(ours), theirs, ("ms", 300.0), busy)];
    rows.extend(idle(platform.pid()?, upstream.as_ref())?);
    Ok(rows)
}

/// What both use when nobody asks anything of them.
fn idle(pid: u64, upstream: Option<&Upstream>) -> anyhow::Result<[Row; 2]> {
    std::thread::sleep(Duration::from_secs(5));
    let (window, ours) = (Instant::now(), cpu_seconds(pid)?);
    let theirs = upstream.map(Upstream::cpu_seconds).transpose()?;
    std::thread::sleep(Duration::from_secs(20));
    let percent = |used: f64| used / window.elapsed().as_secs_f64() * 100.0;
    let ours = percent(cpu_seconds(pid)? - ours);
    let theirs = match (upstream, theirs) {
        (Some(upstream), Some(before)) => Some(percent(upstream.cpu_seconds()? - before)),
        _ => None,
    };
    let mib = |fields: &[&str]| anyhow::Ok(memory_kib(pid, fields)? / 1024.0);
    let pages =
        format!("{:.1} MiB of it are pages of files, the program's own above all", mib(&["Pss_File"])?);
    let resident = upstream.map(Upstream::resident_mib).transpose()?;
    Ok([
        row("resident memory of the idle process", mib(&["Rss"])?, resident, ("MiB", 60.0), pages),
        row("CPU of the idle process, share of a core", ours, theirs, ("%", 0.2), String::new()),
    ])
}

fn row(what: &str, ours: f64, peer: Option<f64>, (unit, bound): (&'static str, f64), why: String) -> Row {
    let peer = peer.map(|figure| (NAME.to_owned(), figure));
    Row { what: what.into(), ours, peer, unit, target: Target::AtMost(bound), why }
}
