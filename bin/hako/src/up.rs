//! `hako up` and `hako down`: the platform as a process.
//!
//! Crash-only: a signal ends `hako up` at once and touches no container; `hako down` is what stops them, and it
//! works the same whether the process ended well, was killed, or still runs.

use crate::cli::{DownArgs, Firewall, OutputFormat, Role, UpArgs};
use crate::locate::Target;
use crate::output;
use crate::platform::{self, Platform};
use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) async fn up(target: &Target, args: UpArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    require_root("up")?;
    let was_there = target.data_dir().is_dir();
    let is_new = platform::is_unused(target.data_dir());
    let outcome =
        if args.detach { detach(target, &args, format) } else { serve(target, &args, format).await };
    if outcome.is_err() && is_new && target.data_dir().exists() {
        // The reason it failed is the one to tell.
        if let Err(error) = discard(target, was_there).await {
            tracing::warn!("{error:#}");
        }
    }
    outcome
}

/// In the foreground, until a signal.
async fn serve(target: &Target, args: &UpArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    output::outlive_reader();
    hako_runtime::raise_descriptor_limit();
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let starting = Platform::start(target.data_dir(), args);
    let platform = tokio::select! {
        platform = starting => platform?,
        _ = interrupts.recv() => bail!("interrupted while starting"),
        _ = terminations.recv() => bail!("terminated while starting"),
    };
    announce(target, began.elapsed().as_millis(), format)?;
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terminations.recv() => {}
        error = platform.failed() => return Err(error),
    }
    tracing::info!("stopping; containers go on, the next start adopts them");
    platform.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Says that the node is Ready: one line, or all that a script needs to go on.
fn announce(target: &Target, ready_ms: u128, format: OutputFormat) -> anyhow::Result<()> {
    if format == OutputFormat::Json {
        let mut running = serde_json::to_value(target.running()?).context("describe the platform")?;
        running["ready_ms"] = u64::try_from(ready_ms)?.into();
        output::json(&running);
    } else {
        output::line(&format!("ready in {ready_ms} ms"));
    }
    Ok(())
}

/// Reads the line of [`announce`], which the background process always gives.
fn announced(line: &str) -> Option<u128> {
    line.trim_end().strip_prefix("ready in ")?.strip_suffix(" ms")?.parse().ok()
}

pub(crate) fn require_root(command: &str) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("`hako {command}` needs root for namespaces, mounts and cgroups: run it with sudo");
    }
    Ok(())
}

/// The same options for the background process, which works in another directory.
fn pass_on(command: &mut Command, args: &UpArgs) -> anyhow::Result<()> {
    match args.only {
        Some(Role::Engine) => command.args(["--only", "engine"]),
        None => command.args(["--listen", &args.listen.to_string()]),
    };
    if let Some(path) = &args.kubeconfig {
        command.arg("--kubeconfig").arg(std::path::absolute(path).context("the current directory")?);
    }
    if let Some(name) = &args.node_name {
        command.args(["--node-name", name]);
    }
    if args.firewall == Firewall::Host {
        command.args(["--firewall", "host"]);
    }
    for allowed in &args.allow_in_layers {
        command.args(["--allow-in-layers", allowed.name()]);
    }
    command.args(["--event-ttl", &args.event_ttl.to_string()]);
    for registry in &args.insecure_registries {
        command.args(["--insecure-registry", registry]);
    }
    if let Some(spec) = &args.userns_remap {
        command.args(["--userns-remap", spec]);
    }
    for (option, path) in args.identities.files().chain(args.etcd.files()).chain(args.audit.files()) {
        let is_stream = path.as_os_str() == "-";
        let whole = if is_stream {
            path.clone()
        } else {
            std::path::absolute(path).context("the current directory")?
        };
        command.arg(option).arg(whole);
    }
    if let Some(seconds) = args.audit.audit_webhook_batch_max_wait {
        command.args(["--audit-webhook-batch-max-wait", &seconds.to_string()]);
    }
    if !args.etcd.etcd_servers.is_empty() {
        command.args(["--etcd-servers", &args.etcd.etcd_servers.join(",")]);
        command.args(["--etcd-prefix", &args.etcd.etcd_prefix]);
        command.args(["--etcd-compaction-interval", &args.etcd.etcd_compaction_interval.to_string()]);
    }
    for name in &args.identities.requestheader_allowed_names {
        command.args(["--requestheader-allowed-names", name]);
    }
    for directory in &args.cdi_dirs {
        command.arg("--cdi-dir").arg(std::path::absolute(directory).context("the current directory")?);
    }
    for socket in &args.docker_sockets {
        command.arg("--docker-socket").arg(std::path::absolute(socket).context("the current directory")?);
    }
    Ok(())
}

/// Starts this program again in a session of its own and waits for its line.
fn detach(target: &Target, args: &UpArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    platform::refuse_foreign(target.data_dir())?;
    platform::make_private(target.data_dir())?;
    let log_path = target.data_dir().join("hako.log");
    let mut log = std::fs::File::options().create(true).append(true).read(true).open(&log_path);
    let log = log.as_mut().map_err(|error| anyhow::anyhow!("open {}: {error}", log_path.display()))?;
    let start = log.seek(SeekFrom::End(0))?;
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("--data-dir").arg(target.data_dir()).arg("up");
    pass_on(&mut command, args)?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone()?)
        .current_dir("/")
        .process_group(0);
    let mut child = command.spawn().context("start hako in the background")?;
    let stdout = child.stdout.take().context("the pipe to the background process")?;
    let said = said_first(stdout, SILENCE, || waits_for(&log_path, start), output::not_ready)?;
    if let Some(ready_ms) = announced(&said) {
        announce(target, ready_ms, format)?;
        return Ok(ExitCode::SUCCESS);
    }
    let status = child.wait().context("wait for the platform")?;
    let silent =
        || format!("the platform ended with {status} before it was ready; see {}", log_path.display());
    // What is told aside did not fit into the log, which may have the half of it.
    let aside = said.trim_end().strip_prefix("hako: ");
    let logged = if aside.is_none() { last_words(&log_path, start) } else { None };
    let reason = aside.or(logged.as_deref());
    bail!("{}", full_disk(&log_path, reason, aside.is_some()).or(logged).unwrap_or_else(silent))
}

/// A disk with less is full, whoever gave back a page since.
const ROOM: u64 = 1 << 20;

/// Why a background process ended whose disk is full, and what to do. A `reason` told aside, on standard output, is one
/// that the log had no room for, which it may have with the end of that process. The log's last page may have had some.
fn full_disk(log: &Path, reason: Option<&str>, is_aside: bool) -> Option<String> {
    let directory = log.parent()?;
    let disk = rustix::fs::statvfs(directory).ok()?;
    // All that is free is root's, also what is kept for it; a file system without blocks is never full.
    let free = disk.f_bfree.saturating_mul(disk.f_frsize);
    if !is_aside && (free >= ROOM || disk.f_blocks == 0) {
        return None;
    }
    let is_logged = reason.is_some() && !is_aside;
    let silenced = if is_logged { "" } else { ", so that not even the log could be written" };
    let reason = reason.map(|reason| format!("{reason}: ")).unwrap_or_default();
    let freed = match std::fs::metadata(log).map_or(0, |log| log.len()) {
        0 => "free some space on it".to_owned(),
        bytes => format!("free some space on it, as `truncate -s 0 {}` does ({bytes} bytes)", log.display()),
    };
    // Where there was a platform, what it has written before is there without more room.
    let next = match directory.join("instance").exists() {
        true => {
            "start with the --listen of the last time, which needs none; then `hako system prune` frees more"
        }
        false => "choose another place with --data-dir",
    };
    let directory = directory.display();
    Some(format!("{reason}the disk of {directory} is full{silenced}: {freed}, or {next}"))
}

/// So long nobody is told what a start waits for.
const SILENCE: Duration = Duration::from_secs(5);

/// The line that the background process says when it is ready, empty if it ends. Whoever waits for it is told what it waits
/// for, nothing twice.
fn said_first(
    stdout: impl Read + Send + 'static,
    silence: Duration,
    waits_for: impl Fn() -> Vec<String>,
    mut tell: impl FnMut(&str),
) -> anyhow::Result<String> {
    let (says, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        loop {
            let mut said = String::new();
            let read = stdout.read_line(&mut said);
            let is_news = said.starts_with(output::NOT_READY);
            // Nobody waits any more where this process ends.
            if says.send(read.map(|_| said)).is_err() || !is_news {
                return;
            }
        }
    });
    let mut shown = BTreeSet::new();
    loop {
        match told.recv_timeout(silence) {
            Ok(Ok(said)) if said.starts_with(output::NOT_READY) => {
                tell(said.trim_start_matches(output::NOT_READY).trim_end());
            }
            Ok(said) => return said.context("wait for the platform"),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("nobody reads what the platform says"),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                for words in waits_for() {
                    let words = without_time(&words).to_owned();
                    if shown.insert(words.clone()) {
                        tell(&words);
                    }
                }
            }
        }
    }
}

/// What a line of the log says, without when it was, with which it begins.
fn without_time(line: &str) -> &str {
    let words = line.split_once(' ').filter(|(time, _)| time.starts_with(|it: char| it.is_ascii_digit()));
    words.map_or(line, |(_, words)| words).trim()
}

/// What the background process says that it waits for, or else what it wrote last.
fn waits_for(log: &Path, start: u64) -> Vec<String> {
    let text = written_since(log, start).unwrap_or_default();
    let said: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix(output::NOT_READY)).map(str::to_owned).collect();
    if said.is_empty() { last_line(&text).into_iter().collect() } else { said }
}

/// The last line that the background process wrote, without the program's name in front.
fn last_words(log: &Path, start: u64) -> Option<String> {
    last_line(&written_since(log, start)?)
}

fn written_since(log: &Path, start: u64) -> Option<String> {
    let mut file = std::fs::File::open(log).ok()?;
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    Some(text)
}

fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rfind(|line| !line.trim().is_empty())?;
    Some(line.strip_prefix("hako: ").unwrap_or(line).to_owned())
}

pub(crate) async fn down(target: &Target, args: &DownArgs) -> anyhow::Result<ExitCode> {
    require_root("down")?;
    let data_dir = &target.home()?;
    if !data_dir.join("instance").exists() {
        bail!("no platform has run on {}: nothing to take down", data_dir.display());
    }
    if let Some(pid) = platform::lock_holder(data_dir)? {
        stop_process(pid).await?;
    }
    hako_runtime::raise_descriptor_limit();
    platform::take_down(data_dir).await?;
    if args.purge {
        platform::release(data_dir);
        purge(data_dir).with_context(|| format!("remove {}", data_dir.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes down what a start that failed has made, the directory included unless it `was_there`: nothing half done.
async fn discard(target: &Target, was_there: bool) -> anyhow::Result<()> {
    let data_dir = target.data_dir();
    // Once it was ready there is what somebody could miss; and what another start has made is not ours.
    if target.server_file().exists() || platform::lock_holder(data_dir)?.is_some() {
        return Ok(());
    }
    if data_dir.join("instance").exists() {
        platform::take_down(data_dir).await?;
        platform::release(data_dir);
    }
    let gone = if was_there { empty(data_dir) } else { purge(data_dir) };
    gone.with_context(|| format!("remove {}", data_dir.display()))
}

/// Removes the data directory; of a link to it, or a mount point, all that is in it.
fn purge(data_dir: &Path) -> std::io::Result<()> {
    empty(data_dir)?;
    let directory = std::fs::canonicalize(data_dir)?;
    if data_dir.is_symlink() {
        return Ok(());
    }
    match std::fs::remove_dir(&directory) {
        Err(error) if matches!(error.kind(), ErrorKind::ResourceBusy | ErrorKind::DirectoryNotEmpty) => {
            Ok(())
        }
        removed => removed,
    }
}

fn empty(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            // The file system's own.
            true if entry.file_name() == "lost+found" => {}
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Ends the platform's process: politely, then not.
async fn stop_process(pid: u32) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("the lock names no process")?;
    for (how, patience) in [(Signal::TERM, Duration::from_secs(5)), (Signal::KILL, Duration::from_secs(5))] {
        match kill_process(pid, how) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("stop hako, pid {pid:?}")),
        }
        let began = Instant::now();
        while began.elapsed() < patience {
            if rustix::process::test_kill_process(pid).is_err() || is_zombie(pid) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    bail!("hako, pid {pid:?}, does not end")
}

/// Ended, and only waits for its parent to ask: it holds nothing any more.
fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::io::Write as _;

    #[test]
    fn who_waits_for_a_start_is_told_what_it_waits_for_and_nothing_twice() {
        let (stdout, mut platform) = std::io::pipe().unwrap();
        let log = [
            "2026-01-01T00:00:00Z  WARN not registered: a",
            "2026-01-01T00:00:05Z  WARN not registered: a",
            "last",
        ];
        let (log, told) = (RefCell::new(log.iter()), RefCell::new(Vec::new()));
        let said = said_first(
            stdout,
            Duration::from_millis(1),
            || log.borrow_mut().next().map(|line| (*line).to_owned()).into_iter().collect(),
            |words| {
                told.borrow_mut().push(words.to_owned());
                if words == "last" {
                    platform.write_all(b"ready in 7 ms\n").unwrap();
                }
            },
        );
        assert_eq!(announced(&said.unwrap()), Some(7));
        assert_eq!(told.into_inner(), ["WARN not registered: a", "last"]);
    }
}
