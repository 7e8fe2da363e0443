//! The engine alone, beside dockerd: start, memory, the commands of a container's life, fifty at once, a thousand, and
//! a published port.

use crate::docker::Docker;
use crate::process::{Platform, memory_kib};
use anyhow::Context;
use hako_benches::{Row, Target, bare, load, median, ms, time};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 15;
const AT_ONCE: usize = 50;
const MANY: usize = 1000;
const CONNECTIONS: usize = 16;
/// Short and many: what else the machine does meets both alike.
const WINDOW: Duration = Duration::from_millis(400);
const WINDOWS: usize = 25;

/// A command of one of the two, with arguments to come.
type Cli<'a> = &'a dyn Fn() -> anyhow::Result<Command>;

pub fn engine(hako: &Path) -> anyhow::Result<Vec<Row>> {
    let mut starts = Vec::new();
    for _ in 0..7 {
        let began = Instant::now();
        let platform = Platform::engine(hako)?;
        starts.push(ms(began.elapsed()));
        drop(platform);
    }
    let platform = Platform::engine(hako)?;
    let began = Instant::now();
    let docker = Docker::start();
    let theirs = docker.as_ref().map(|_| ms(began.elapsed()));
    let mut rows =
        vec![row("engine: cold start to ready", median(starts), theirs, "ms", Target::AtMost(50.0))];
    rows.push(idle(&platform, docker.as_ref())?);
    platform.import_busybox()?;
    if let Some(docker) = &docker {
        docker.import_busybox()?;
    }
    rows.extend(life(&platform, docker.as_ref())?);
    rows.extend(at_once(&platform, docker.as_ref())?);
    drop(docker);
    rows.extend(many(&platform)?);
    rows.push(published(&platform)?);
    Ok(rows)
}

fn row(what: &str, ours: f64, peer: Option<f64>, unit: &'static str, target: Target) -> Row {
    let peer = peer.map(|figure| ("docker".to_owned(), figure));
    Row { what: what.into(), ours, peer, unit, target, why: String::new() }
}

fn idle(platform: &Platform, docker: Option<&Docker>) -> anyhow::Result<Row> {
    std::thread::sleep(Duration::from_secs(5));
    let resident = |pid: u64| anyhow::Ok(memory_kib(pid, &["Rss"])? / 1024.0);
    let theirs = match docker {
        Some(docker) => Some(docker.pids()?.into_iter().map(resident).sum::<anyhow::Result<f64>>()?),
        None => None,
    };
    let pid = platform.pid()?;
    let pages = memory_kib(pid, &["Pss_File"])? / 1024.0;
    let row = row("engine: resident memory when idle", resident(pid)?, theirs, "MiB", Target::AtMost(30.0));
    let why =
        format!("{pages:.1} MiB of it are pages of the program's file, which the kernel takes back at need");
    Ok(Row { why, ..row })
}

/// One command after the other on one container.
fn life(platform: &Platform, docker: Option<&Docker>) -> anyhow::Result<Vec<Row>> {
    let own = || Ok(platform.command());
    let by_docker = || platform.docker();
    let ours =
        ["exec", "ps"].map(|command| one(&own, command)).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let same = ["start", "kill"].map(|command| one(&by_docker, command));
    let same = same.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let theirs = |command: &str| docker.map(|docker| one(&|| Ok(docker.command()), command)).transpose();
    Ok(vec![
        row("engine: exec", ours[0], theirs("exec")?, "ms", Target::RatioAtMost(0.2)),
        row("engine: ps", ours[1], theirs("ps")?, "ms", Target::None),
        row("engine: docker start, by docker's command", same[0], theirs("start")?, "ms", Target::None),
        row("engine: docker kill, by docker's command", same[1], theirs("kill")?, "ms", Target::None),
    ])
}

/// The median of a command's time, its container made for it.
fn one(cli: Cli, command: &str) -> anyhow::Result<f64> {
    let name = format!("one-{command}");
    time(cli()?.args(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]))?;
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        match command {
            "exec" => samples.push(time(cli()?.args(["exec", &name, "true"]))?),
            "ps" => samples.push(time(cli()?.arg("ps"))?),
            _ => {
                let kill = time(cli()?.args(["kill", &name]))?;
                let start = time(cli()?.args(["start", &name]))?;
                samples.push(if command == "kill" { kill } else { start });
            }
        }
    }
    time(cli()?.args(["rm", "-f", &name]))?;
    Ok(median(samples))
}

/// Fifty containers started at the same time, what they cost, and their removal.
fn at_once(platform: &Platform, docker: Option<&Docker>) -> anyhow::Result<Vec<Row>> {
    let own = || Ok(platform.command());
    let began = start_at_once(&own, "many", AT_ONCE)?;
    let shims = platform.shims()?;
    anyhow::ensure!(shims.len() >= AT_ONCE, "{} shims of {AT_ONCE} containers", shims.len());
    let memory = shims.iter().map(|pid| memory_kib(*pid, &["Pss"])).sum::<anyhow::Result<f64>>()?;
    let removed = remove(&own, "many", AT_ONCE)?;
    let (mut started_there, mut removed_there) = (None, None);
    if let Some(docker) = docker {
        let cli = || Ok(docker.command());
        started_there = Some(start_at_once(&cli, "many", AT_ONCE)?);
        removed_there = Some(remove(&cli, "many", AT_ONCE)?);
    }
    let each = memory / 1024.0 / AT_ONCE as f64;
    Ok(vec![
        row("engine: 50 containers started at once", began, started_there, "ms", Target::RatioAtMost(0.1)),
        row("engine: 50 running containers removed", removed, removed_there, "ms", Target::RatioAtMost(0.1)),
        row("engine: memory outside the program, a container", each, None, "MiB", Target::AtMost(1.5)),
    ])
}

fn start_at_once(cli: Cli, prefix: &str, count: usize) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut children = Vec::new();
    for number in 0..count {
        let mut command = cli()?;
        command.args(["run", "-d", "--name", &format!("{prefix}-{number}"), "busybox", "sleep", "1000"]);
        children.push(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    }
    for mut child in children {
        anyhow::ensure!(child.wait()?.success(), "a container did not start");
    }
    Ok(ms(began.elapsed()))
}

fn remove(cli: Cli, prefix: &str, count: usize) -> anyhow::Result<f64> {
    let names: Vec<String> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
    time(cli()?.args(["rm", "-f"]).args(names))
}

/// A thousand on one machine, started one after the other.
fn many(platform: &Platform) -> anyhow::Result<Vec<Row>> {
    let mut took = Vec::new();
    for number in 0..MANY {
        let name = format!("thousand-{number}");
        took.push(time(platform.command().args(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]))?);
    }
    let (first, last) = (median(took[..100].to_vec()), median(took[MANY - 100..].to_vec()));
    let lists: Vec<f64> =
        (0..ROUNDS).map(|_| time(platform.command().arg("ps"))).collect::<anyhow::Result<_>>()?;
    for hundred in 0..MANY / 100 {
        let names: Vec<String> =
            (0..100).map(|number| format!("thousand-{}", hundred * 100 + number)).collect();
        time(platform.command().args(["rm", "-f"]).args(names))?;
    }
    let rate = Row {
        what: "engine: start among 1,000 containers, the last hundred".into(),
        ours: last,
        peer: Some(("the first hundred".into(), first)),
        unit: "ms",
        target: Target::RatioAtMost(1.0),
        why: "ports of the bridge and sysfs are made between starts, on the other processor (docs/decisions/0020); where groups are \
              of version 1 the kernel asks all groups of cpuset when one is made"
            .into(),
    };
    Ok(vec![row("engine: list of 1,000 containers", median(lists), None, "ms", Target::AtMost(50.0)), rate])
}

/// Requests a second through a published port on 127.0.0.1 and to the container's own address, in turns.
fn published(platform: &Platform) -> anyhow::Result<Row> {
    let mut run = platform.command();
    run.args(["run", "-d", "--name", "web", "-p", "127.0.0.1:0:8080", "busybox", "sleep", "1000"]);
    time(&mut run)?;
    let inspect = |format: &str| -> anyhow::Result<String> {
        let output = platform.docker()?.args(["inspect", "--format", format, "web"]).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    // The server is the bench's, in the container's network: what is measured is the way there.
    bare::serve(bare::listen_beside(inspect("{{.State.Pid}}")?.parse()?, 8080)?, 32)?;
    let port = inspect("{{(index (index .NetworkSettings.Ports \"8080/tcp\") 0).HostPort}}")?;
    let ip = inspect("{{.NetworkSettings.IPAddress}}")?;
    let (through, own): (SocketAddr, SocketAddr) = (
        format!("127.0.0.1:{port}").parse().context("the published port")?,
        format!("{ip}:8080").parse().context("the container's address")?,
    );
    let rate = |address: SocketAddr| {
        let measured = load::run(address, "/", CONNECTIONS, WINDOW)?;
        anyhow::Ok(measured.requests / measured.took.as_secs_f64())
    };
    rate(own)?;
    let (mut ours, mut direct) = (Vec::new(), Vec::new());
    for _ in 0..WINDOWS {
        ours.push(rate(through)?);
        direct.push(rate(own)?);
    }
    time(platform.command().args(["rm", "-f", "web"]))?;
    let (ours, direct) = (median(ours), median(direct));
    let (one, spent) = (1e6 / direct, 1e6 / ours - 1e6 / direct);
    Ok(Row {
        what: "engine: requests through a published port of 127.0.0.1".into(),
        ours,
        peer: Some(("the container's own address".into(), direct)),
        unit: "req/s",
        target: Target::RatioAtLeast(0.95),
        why: format!(
            "{spent:.1} µs a request, beside {one:.1}: where the short way (docs/decisions/0019) is taken both are the same \
             packets, and the difference is noise; else each of them is translated"
        ),
    })
}
