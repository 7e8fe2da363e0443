//! RUN: a program in the stage's root.

use crate::error::BuildError;
use crate::graph::RunOp;
use crate::log::StepLog;
use crate::mounts::Mounts as StepMounts;
use crate::network::Connection;
use crate::shared::Shared;
use crate::solve::Results;
use crate::users::{self, Identity};
use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{
    Capabilities, LinuxCapabilities, LinuxDeviceCgroup, LinuxResources, Mount, MountBuilder, Spec,
    UserBuilder,
};
use hako_runtime::spec::default_spec;
use hako_runtime::{OnceExit, OutputStream, Rootfs, RunOnce};
use hako_snapshot::Mounts;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, FileType, OFlags, ResolveFlags, statat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files of the host that a step with network sees.
const NETWORK_FILES: [&str; 2] = ["etc/resolv.conf", "etc/hosts"];
/// Where the runtime mounts something; what it has to make for that is no part of the layer.
const MOUNT_POINTS: [&str; 5] = ["dev", "proc", "sys", NETWORK_FILES[0], NETWORK_FILES[1]];

/// What carries out RUN steps.
pub(crate) trait Runner: Send + Sync {
    fn run(&self, run: RunOnce) -> Result<OnceExit>;
}

/// The runtime of this machine.
#[derive(Debug)]
pub(crate) struct Runtime;

impl Runner for Runtime {
    fn run(&self, run: RunOnce) -> Result<OnceExit> {
        hako_runtime::run_once(run)
    }
}

/// A program to run in a step.
pub(crate) struct Job<'a> {
    pub op: &'a RunOp,
    pub results: &'a Results,
    pub mounts: &'a Mounts,
    pub key: &'a str,
    pub cgroup: String,
    pub step: usize,
}

/// Runs the job to its end, with its output as events.
pub(crate) fn run(shared: &Shared, job: &Job) -> Result<OnceExit> {
    let step_mounts = StepMounts::prepare(shared, job.op, job.results)?;
    let (identity, missing) = inspect(shared, job, &step_mounts)?;
    let (Some(upper), Some(work)) = (job.mounts.upper.clone(), job.mounts.work.clone()) else {
        return Err(Error::new(Kind::Internal, "a step cannot run in a read-only view"));
    };
    let _entered = shared.cancel.enter(&job.cgroup)?;
    let dir = work.parent().unwrap_or(&work);
    let bundle = shared.scratch.join(format!("{}.bundle", job.key));
    let connection = Connection::open(job.op, shared.bridge.as_ref(), job.key, dir)?;
    let log = Arc::new(Mutex::new(StepLog::new(job.step, shared.events.clone())));
    let exit = step_mounts.inside(|list| {
        let run = RunOnce {
            spec: spec(shared, job, &identity, &connection, &step_mounts.env, list)?,
            rootfs: Rootfs::Overlay {
                lower: job.mounts.lower.clone(),
                upper: upper.clone(),
                work: work.clone(),
            },
            cgroup: job.cgroup.clone(),
            network: connection.for_run(),
            bundle: bundle.clone(),
            output: output(&log),
        };
        shared.runner.run(run)
    })?;
    drop(connection);
    shared.cancel.check()?;
    if exit.code != 0 {
        log.lock().fail();
    }
    let changed = File::open(&upper).map_err(BuildError::io("open", &upper))?;
    missing.iter().rev().for_each(|path| remove_stub(&changed, &job.mounts.lower, path));
    Ok(exit)
}

/// Hands output on to the log.
fn output(log: &Arc<Mutex<StepLog>>) -> hako_runtime::Output {
    let log = Arc::clone(log);
    Box::new(move |stream: OutputStream, bytes: &[u8]| {
        let stream = match stream {
            OutputStream::Stdout => crate::OutputStream::Stdout,
            OutputStream::Stderr => crate::OutputStream::Stderr,
        };
        log.lock().write(stream, bytes);
    })
}

/// Who the step runs as, and which mount points its root has not, each with the directories above it that are
/// missing too.
fn inspect(shared: &Shared, job: &Job, mounts: &StepMounts) -> Result<(Identity, Vec<PathBuf>)> {
    let tree = shared.images.snapshots().mounted_unsynced(job.mounts)?;
    let root = File::open(tree.path()).map_err(BuildError::io("open the root of", "a step"))?;
    let identity =
        users::resolve(&root, &job.op.user).map_err(|message| Error::new(Kind::Invalid, message))?;
    let mut missing: Vec<PathBuf> = Vec::new();
    let own = MOUNT_POINTS.iter().map(PathBuf::from).chain(mounts.targets());
    for point in own.chain(device_mounts(shared, job)?) {
        for path in missing_parts(&root, &point) {
            if !missing.contains(&path) {
                missing.push(path);
            }
        }
    }
    missing.sort_by_key(|path| path.components().count());
    Ok((identity, missing))
}

/// Where the devices of a step have something mounted.
fn device_mounts(shared: &Shared, job: &Job) -> Result<Vec<PathBuf>> {
    let mut spec = Spec::default();
    spec.set_mounts(None);
    shared.cdi.read().inject(job.op.devices.iter().map(String::as_str), &mut spec)?;
    Ok(spec.mounts().iter().flatten().map(|mount| mount.destination().clone()).collect())
}

/// The parts of a path that do not exist in `root`, outermost first, with links on the way resolved.
fn missing_parts(root: &File, path: &Path) -> Vec<PathBuf> {
    let path = crate::files::clean(&path.to_string_lossy());
    let parts: Vec<&str> = path.split('/').collect();
    for known in (0..=parts.len()).rev() {
        let prefix = parts[..known].join("/");
        let prefix = if prefix.is_empty() { "." } else { &prefix };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let Ok(found) = hako_sys::open_resolved(root, prefix, OFlags::PATH, resolve) else {
            continue;
        };
        let place = |fd: i32| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
        let (top, real) = (place(root.as_raw_fd()), place(found.as_raw_fd()));
        let mut real = real.strip_prefix(&top).unwrap_or(Path::new("")).to_owned();
        let mut missing = Vec::new();
        for part in &parts[known..] {
            real.push(part);
            missing.push(real.clone());
        }
        return missing;
    }
    Vec::new()
}

fn spec(
    shared: &Shared,
    job: &Job,
    identity: &Identity,
    connection: &Connection,
    more_env: &[String],
    more_mounts: Vec<Mount>,
) -> Result<Spec> {
    let failed =
        |error| Error::new(Kind::Internal, "the step's specification is incomplete").with_source(error);
    let mut spec = default_spec();
    if job.op.is_insecure {
        make_insecure(&mut spec);
    }
    let mut process = spec.process().clone().unwrap_or_default();
    let user = UserBuilder::default()
        .uid(identity.uid)
        .gid(identity.gid)
        .additional_gids(identity.groups.clone())
        .build()
        .map_err(failed)?;
    process.set_terminal(Some(false));
    process.set_args(Some(job.op.words.clone()));
    process.set_env(Some(environment(job.op, identity, more_env)));
    process.set_cwd(PathBuf::from(&job.op.workdir));
    process.set_user(user);
    spec.set_process(Some(process));
    spec.set_hostname(Some(job.op.hostname.clone()));
    let mut mounts: Vec<Mount> = spec.mounts().clone().unwrap_or_default();
    for path in NETWORK_FILES {
        let file = Path::new("/").join(path);
        if let Some(source) = connection.source(&file) {
            let mount = MountBuilder::default()
                .destination(file)
                .source(source)
                .typ("bind")
                .options(["bind", "ro", "nosuid", "nodev", "noexec"].map(String::from).to_vec());
            mounts.push(mount.build().map_err(failed)?);
        }
    }
    mounts.extend(more_mounts);
    spec.set_mounts(Some(mounts));
    job.op.limits.fill(&mut spec);
    if !job.op.devices.is_empty() {
        shared.cdi.read().inject(job.op.devices.iter().map(String::as_str), &mut spec)?;
    }
    Ok(spec)
}

/// All capabilities, every device, nothing masked and no filter of system calls: what `security.insecure` allows.
fn make_insecure(spec: &mut Spec) {
    let names = hako_sys::own_bounding_names();
    let all: Capabilities = names.into_iter().filter_map(|name| name.parse().ok()).collect();
    if let Some(process) = spec.process_mut() {
        let mut sets = LinuxCapabilities::default();
        sets.set_bounding(Some(all.clone()))
            .set_effective(Some(all.clone()))
            .set_permitted(Some(all.clone()))
            .set_inheritable(Some(all))
            .set_ambient(None);
        process.set_capabilities(Some(sets));
    }
    if let Some(linux) = spec.linux_mut() {
        let mut every = LinuxDeviceCgroup::default();
        every.set_allow(true).set_access(Some("rwm".to_owned()));
        let mut resources = LinuxResources::default();
        resources.set_devices(Some(vec![every]));
        linux
            .set_seccomp(None)
            .set_masked_paths(None)
            .set_readonly_paths(None)
            .set_resources(Some(resources));
    }
    for mount in spec.mounts_mut().iter_mut().flatten() {
        let is_kernel = mount.destination().starts_with("/sys");
        if let Some(options) = mount.options_mut().as_mut().filter(|_| is_kernel) {
            options.retain(|option| option != "ro");
        }
    }
}

fn environment(op: &RunOp, identity: &Identity, more: &[String]) -> Vec<String> {
    let mut env: Vec<String> = op.env.iter().chain(&op.quiet_env).cloned().collect();
    for pair in more {
        let name = pair.split('=').next().unwrap_or_default();
        env.retain(|known| known.split('=').next() != Some(name));
        env.push(pair.clone());
    }
    if !env.iter().any(|pair| pair.starts_with("HOME=")) {
        env.push(format!("HOME={}", identity.home.as_deref().unwrap_or("/")));
    }
    env
}

/// Takes a mount point that was made for the step out of its changes, and a parent that changed only for it. What is on the
/// way may be the step's own work by now: no link there is followed (CVE-2024-23652).
fn remove_stub(upper: &File, lower: &[PathBuf], path: &Path) {
    if remove_empty(upper, path).is_err() {
        return;
    }
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return;
    };
    let below = lower.iter().find_map(|lower| lower.join(parent).symlink_metadata().ok());
    if below.is_some_and(|below| below.is_dir() && has_looks_of(upper, parent, &below)) {
        // Fails, as it should, where the step itself left something.
        let _ = remove_empty(upper, parent);
    }
}

/// Removes an empty directory or file on whose way there is no link.
fn remove_empty(root: &File, path: &Path) -> rustix::io::Result<()> {
    let (dir, name) = place_of(root, path)?;
    let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => unlinkat(&dir, name, AtFlags::REMOVEDIR),
        FileType::RegularFile if stat.st_size == 0 => unlinkat(&dir, name, AtFlags::empty()),
        _ => Err(Errno::EXIST),
    }
}

/// Whether a directory still has the mode and the owner that it has below.
fn has_looks_of(root: &File, path: &Path, below: &fs::Metadata) -> bool {
    let stat = place_of(root, path).and_then(|(dir, name)| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW));
    stat.is_ok_and(|stat| {
        (stat.st_mode, stat.st_uid, stat.st_gid) == (below.mode(), below.uid(), below.gid())
    })
}

fn place_of<'a>(root: &File, path: &'a Path) -> rustix::io::Result<(OwnedFd, &'a OsStr)> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let dir = hako_sys::open_resolved(root, parent.unwrap_or(Path::new(".")), flags, resolve)?;
    Ok((dir, name))
}
