//! The short commands.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use hako_error::{Error, Kind, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::args::Args;
use super::state::{Home, Phase, Record, load_spec, oci_state, start_time};
use super::{Global, OCI_VERSION, hooks, internal, print};
use crate::prepare::{cgroup_root, remove_group};

pub(super) fn start(global: &Global, args: &mut Args) -> Result<()> {
    let id = args.only_id()?;
    let home = Home::of(&global.root, &id);
    let record = home.load()?;
    if home.phase(&record) != Phase::Created {
        return Err(Error::new(
            Kind::FailedPrecondition,
            format!("container {id} is not waiting to be started"),
        ));
    }
    let pipe = home.pipe();
    let mut options = fs::OpenOptions::new();
    // Without a reader, that is without a living init, this fails instead of waiting for one.
    std::os::unix::fs::OpenOptionsExt::custom_flags(options.write(true), libc::O_NONBLOCK);
    let failed = || internal(format!("cannot start container {id}; has its init been killed?"));
    options.open(&pipe).and_then(|mut pipe| pipe.write_all(b"S")).map_err(failed())?;
    fs::remove_file(&pipe).map_err(failed())?;
    let spec = load_spec(&record.bundle).ok();
    hooks::after_start(spec.as_ref(), &record).inspect_err(|_| {
        // The hook's failure is the one to tell.
        let _ended = kill_and_wait(record.pid, record.start_time);
    })
}

pub(super) fn state(global: &Global, args: &mut Args) -> Result<()> {
    let home = Home::of(&global.root, &args.only_id()?);
    let record = home.load()?;
    print(&format!("{:#}\n", oci_state(&record, home.phase(&record))))
}

pub(super) fn list(global: &Global, args: &mut Args) -> Result<()> {
    let (is_quiet, format) = (args.take_flag("quiet"), args.take("format"));
    args.is_done()?;
    let entries = fs::read_dir(&global.root).into_iter().flatten().filter_map(std::result::Result::ok);
    let mut records: Vec<(Record, Phase)> = entries
        .filter_map(|entry| {
            let home = Home::of(&global.root, entry.file_name().to_str()?);
            let record = home.load().ok()?;
            let phase = home.phase(&record);
            Some((record, phase))
        })
        .collect();
    records.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    if is_quiet {
        return records.iter().try_for_each(|(record, _)| print(&format!("{}\n", record.id)));
    }
    let states: Vec<_> = records.iter().map(|(record, phase)| oci_state(record, *phase)).collect();
    match format.as_deref().unwrap_or("table") {
        "json" => print(&format!("{}\n", serde_json::Value::Array(states))),
        "table" => print(&table(&states)),
        other => Err(Error::new(Kind::Invalid, format!("format {other:?} is not known; use table or json"))),
    }
}

/// The columns of a list, each as wide as its widest cell.
fn table(states: &[serde_json::Value]) -> String {
    const COLUMNS: [&str; 6] = ["id", "pid", "status", "bundle", "created", "owner"];
    let cell = |state: &serde_json::Value, column: &str| match &state[column] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut rows = vec![COLUMNS.map(str::to_uppercase)];
    rows.extend(states.iter().map(|state| COLUMNS.map(|column| cell(state, column))));
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|column| rows.iter().map(|row| row[column].len() + 3).max().unwrap_or(0).max(12))
        .collect();
    let line = |row: &[String; 6]| {
        let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.trim_end())
    };
    rows.iter().map(line).collect()
}

pub(super) fn kill(global: &Global, args: &mut Args) -> Result<()> {
    let all = args.take_flag("all");
    let id = args.id()?;
    let name = args.command().unwrap_or_else(|| "TERM".to_owned());
    args.is_done()?;
    let signal =
        signal_number(&name).ok_or_else(|| Error::new(Kind::Invalid, format!("{name:?} is no signal")))?;
    let home = Home::of(&global.root, &id);
    let record = home.load()?;
    if all {
        let group = cgroup_root()?.open(&record.cgroup)?;
        group.processes()?.into_iter().try_for_each(|pid| send(pid, signal))?;
        return if signal == libc::SIGKILL { thaw(&record) } else { Ok(()) };
    }
    if home.phase(&record) == Phase::Stopped {
        // runc's words: containerd takes a kill that came too late for no failure by them.
        return Err(Error::new(Kind::FailedPrecondition, format!("container not running: {id} has ended")));
    }
    send(record.pid, signal)?;
    if signal == libc::SIGKILL {
        thaw(&record)?;
    }
    Ok(())
}

/// In version 1 what is frozen dies only when it is thawed.
fn thaw(record: &Record) -> Result<()> {
    let Ok(group) = cgroup_root()?.open(&record.cgroup) else { return Ok(()) };
    if group.is_frozen()? {
        group.freeze(false)?;
    }
    Ok(())
}

fn send(pid: u32, signal: i32) -> Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    match hako_sys::signal(pid, signal) {
        // It ended meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.map_err(internal(format!("cannot signal process {}", pid.as_raw_nonzero()))),
    }
}

/// A signal by number or name, with or without SIG.
fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse() {
        return (0..=64).contains(&number).then_some(number);
    }
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let name = name.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let index = NAMES.iter().position(|known| *known == name)?;
    i32::try_from(index + 1).ok()
}

pub(super) fn freeze(global: &Global, args: &mut Args, frozen: bool) -> Result<()> {
    let home = Home::of(&global.root, &args.only_id()?);
    let record = home.load()?;
    let phase = home.phase(&record);
    let (is_fit, wanted) = match frozen {
        true => (matches!(phase, Phase::Created | Phase::Running), "running or created"),
        false => (phase == Phase::Paused, "paused"),
    };
    if !is_fit {
        return Err(Error::new(Kind::FailedPrecondition, format!("container {} is not {wanted}", record.id)));
    }
    cgroup_root()?.open(&record.cgroup)?.freeze(frozen)?;
    Ok(())
}

pub(super) fn delete(global: &Global, args: &mut Args) -> Result<()> {
    let force = args.take_flag("force");
    let id = args.only_id()?;
    let home = Home::of(&global.root, &id);
    let record = match home.load() {
        Ok(record) => record,
        // Forced: what a create that was killed left goes, and nothing is no error.
        Err(_) if force && home.exists() => return home.clear(),
        Err(error) if force && error.is_not_found() => return Ok(()),
        Err(error) => return Err(error),
    };
    if home.phase(&record).has_started() && !force {
        return Err(Error::new(
            Kind::FailedPrecondition,
            format!("container {id} is running; kill it first or use --force"),
        ));
    }
    send_if_same(record.pid, record.start_time)?;
    thaw(&record)?;
    kill_and_wait(record.pid, record.start_time)?;
    remove(&home, &record)
}

/// Kills a process unless its number means another by now; `None` when it has ended.
fn send_if_same(pid: u32, time: u64) -> Result<Option<OwnedFd>> {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let Ok(handle) = pidfd_open(number, PidfdFlags::empty()) else { return Ok(None) };
    // Checked with the handle in hand, so that the number cannot have changed its meaning since.
    if start_time(pid) != Some(time) {
        return Ok(None);
    }
    send(pid, libc::SIGKILL)?;
    Ok(Some(handle))
}

/// Ends an init, if it still is one, and waits for that: it need not be our child.
pub(super) fn kill_and_wait(pid: u32, time: u64) -> Result<()> {
    let Some(handle) = send_if_same(pid, time)? else { return Ok(()) };
    let mut fds = [PollFd::new(&handle, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, None))
        .map(drop)
        .map_err(|errno| internal(format!("cannot wait for process {pid}"))(errno.into()))
}

/// Removes what is left of a container that ended.
pub(super) fn remove(home: &Home, record: &Record) -> Result<()> {
    remove_group(&record.cgroup)?;
    home.remove()?;
    hooks::after_delete(record);
    Ok(())
}

pub(super) fn spec(args: &mut Args) -> Result<()> {
    let mut spec = crate::spec::default_spec();
    if args.take_flag("rootless") {
        let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        crate::spec::make_rootless(&mut spec, ids);
    }
    let path = args.take_path("bundle").unwrap_or_else(|| PathBuf::from(".")).join("config.json");
    let text = serde_json::to_string_pretty(&spec)
        .map_err(|error| Error::new(Kind::Internal, "cannot encode the spec").with_source(error))?;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).open(&path);
    let write = file.and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()));
    write.map_err(internal(format!("cannot write {}", path.display())))
}

pub(super) fn features() -> Result<()> {
    let capabilities: Vec<String> = hako_sys::capability_names().map(|one| format!("CAP_{one}")).collect();
    let features = serde_json::json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": crate::plan::mount_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": {"v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"],
                "operators": ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"],
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": false},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": true}},
        },
        "potentiallyUnsafeConfigAnnotations": [],
    });
    print(&format!("{features:#}\n"))
}
