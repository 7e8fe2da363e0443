//! RUN: a program in the stage's root.

use crate::network::Connection;
use crate::shared::Shared;
use crate::state::State;
use crate::users::{self, Identity};
use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{Mount, MountBuilder, Spec, UserBuilder};
use hako_runtime::spec::default_spec;
use hako_runtime::{OnceExit, OutputStream, Rootfs, RunOnce};
use hako_snapshot::Mounts;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much of the output an error repeats.
const TAIL: usize = 4096;
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
    pub words: Vec<String>,
    pub state: &'a State,
    pub mounts: &'a Mounts,
    pub key: &'a str,
    pub cgroup: String,
    pub step: usize,
}

/// How it ended and the end of what it wrote.
pub(crate) struct Ended {
    pub exit: OnceExit,
    pub tail: String,
}

/// Runs the job to its end, with its output as events.
pub(crate) fn run(shared: &Shared, job: &Job) -> Result<Ended> {
    let (identity, missing) = inspect(shared, job)?;
    let (Some(upper), Some(work)) = (job.mounts.upper.clone(), job.mounts.work.clone()) else {
        return Err(Error::new(Kind::Internal, "a step cannot run in a read-only view"));
    };
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let (events, kept, step) = (shared.events.clone(), tail.clone(), job.step);
    let output = Box::new(move |stream: OutputStream, bytes: &[u8]| {
        let mut kept = kept.lock();
        kept.extend(bytes);
        let excess = kept.len().saturating_sub(TAIL);
        kept.drain(..excess);
        let stream = match stream {
            OutputStream::Stdout => crate::OutputStream::Stdout,
            OutputStream::Stderr => crate::OutputStream::Stderr,
        };
        let _ = events.send(crate::BuildEvent::Output { step, stream, bytes: bytes.to_vec() });
    });
    let _entered = shared.cancel.enter(&job.cgroup)?;
    let dir = work.parent().unwrap_or(&work);
    let connection = Connection::open(shared.network, shared.bridge.as_ref(), job.key, dir)?;
    let run = RunOnce {
        spec: spec(job, &identity, &connection)?,
        rootfs: Rootfs::Overlay { lower: job.mounts.lower.clone(), upper: upper.clone(), work },
        cgroup: job.cgroup.clone(),
        network: connection.for_run(),
        output,
    };
    let exit = shared.runner.run(run)?;
    drop(connection);
    shared.cancel.check()?;
    remove_stubs(&upper, &job.mounts.lower, &missing);
    let tail: Vec<u8> = tail.lock().iter().copied().collect();
    Ok(Ended { exit, tail: String::from_utf8_lossy(&tail).into_owned() })
}

/// Who the step runs as, and which mount points its root has not.
fn inspect(shared: &Shared, job: &Job) -> Result<(Identity, Vec<&'static str>)> {
    let tree = shared.images.snapshots().mounted(job.mounts)?;
    let root = File::open(tree.path()).map_err(crate::error::BuildError::io("open the root of", "a step"))?;
    let identity =
        users::resolve(&root, &job.state.user).map_err(|message| Error::new(Kind::Invalid, message))?;
    let missing = MOUNT_POINTS.into_iter().filter(|path| tree.path().join(path).symlink_metadata().is_err());
    Ok((identity, missing.collect()))
}

fn spec(job: &Job, identity: &Identity, connection: &Connection) -> Result<Spec> {
    let failed =
        |error| Error::new(Kind::Internal, "the step's specification is incomplete").with_source(error);
    let mut spec = default_spec();
    let mut process = spec.process().clone().unwrap_or_default();
    let mut env = job.state.run_env();
    if !env.iter().any(|pair| pair.starts_with("HOME=")) {
        env.push(format!("HOME={}", identity.home.as_deref().unwrap_or("/")));
    }
    let user = UserBuilder::default()
        .uid(identity.uid)
        .gid(identity.gid)
        .additional_gids(identity.groups.clone())
        .build()
        .map_err(failed)?;
    process.set_terminal(Some(false));
    process.set_args(Some(job.words.clone()));
    process.set_env(Some(env));
    process.set_cwd(PathBuf::from(&job.state.workdir));
    process.set_user(user);
    spec.set_process(Some(process));
    spec.set_hostname(Some("build".into()));
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
    spec.set_mounts(Some(mounts));
    Ok(spec)
}

/// Takes mount points that were made for the step out of its changes, and a parent that changed only for them.
fn remove_stubs(upper: &Path, lower: &[PathBuf], missing: &[&str]) {
    for path in missing {
        let stub = upper.join(path);
        let is_stub = stub.symlink_metadata().is_ok_and(|metadata| metadata.is_dir() || metadata.len() == 0);
        if !is_stub || fs::remove_dir(&stub).or_else(|_| fs::remove_file(&stub)).is_err() {
            continue;
        }
        let Some(parent) = Path::new(path).parent().filter(|parent| !parent.as_os_str().is_empty()) else {
            continue;
        };
        let is_below = lower.iter().any(|lower| lower.join(parent).is_dir());
        if is_below {
            // Fails, as it should, where the step itself left something.
            let _ = fs::remove_dir(upper.join(parent));
        }
    }
}
