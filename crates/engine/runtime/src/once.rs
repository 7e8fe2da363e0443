//! One-shot runs for build steps.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{LinuxNamespaceBuilder, LinuxNamespaceType, Spec};
use rustix::event::{PollFd, PollFlags, poll};

use crate::client::{Bundle, OutputStream, start_process};
use crate::prepare::{Prepared, prepare, remove_group, write_bundle};
use crate::types::{Rootfs, Stdio};
use crate::wire::{Answer, Assembler, FromShim, Request, ToShim, send_blocking};

/// Which network a one-shot run is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The caller's.
    Host,
    /// A new one with nothing but a loopback that is down.
    None,
    /// The one at this path, such as `/proc/1/ns/net`.
    Path(PathBuf),
}

/// Receives output as it comes, on a blocking thread.
pub type Output = Box<dyn FnMut(OutputStream, &[u8]) + Send>;

/// A process to run to its end.
pub struct RunOnce {
    /// What to run; `process.args`, `env`, `cwd`, `user` come from here.
    pub spec: Spec,
    /// Its root.
    pub rootfs: Rootfs,
    /// Its group inside every hierarchy; created, and removed afterwards.
    pub cgroup: String,
    /// Its network.
    pub network: Network,
    /// A directory `<id>.bundle` that is made for its hooks, if the spec has some, and removed after them. What is left of
    /// it by a caller that was killed is for [`crate::end_bundles`].
    pub bundle: PathBuf,
    /// Receives stdout and stderr.
    pub output: Output,
}

impl std::fmt::Debug for RunOnce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOnce").field("rootfs", &self.rootfs).finish_non_exhaustive()
    }
}

/// How a one-shot run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnceExit {
    /// The exit code, or 128 + signal.
    pub code: i32,
    /// Whether the OOM killer killed in its group.
    pub oom_killed: bool,
}

/// Runs a process to its end, with its hooks; blocking. It dies with the caller's process. Call it by `spawn_blocking`. A
/// program that is not there is [`Kind::NotFound`], one that cannot be executed [`Kind::Forbidden`], a hook that fails
/// [`Kind::FailedPrecondition`].
pub fn run_once(run: RunOnce) -> Result<OnceExit> {
    let RunOnce { mut spec, rootfs, cgroup, network, bundle, mut output } = run;
    set_network(&mut spec, network)?;
    let mountpoint = match &rootfs {
        Rootfs::Bind(path) => path.clone(),
        Rootfs::Overlay { upper, .. } => upper.clone(),
    };
    let id = cgroup.rsplit('/').next().unwrap_or_default().to_owned();
    let mut prepared = prepare(&id, spec.clone(), rootfs, &cgroup, Stdio::default(), &mountpoint, false)?;
    prepared.plan.process.dies_with_parent = true;
    prepared.plan.is_unsynced = true;
    let bundle = Bundle::at(bundle);
    let result = write_bundle(&mut prepared, &spec, bundle.path(), &mountpoint)
        .and_then(|()| run_prepared(prepared, (&bundle, &mountpoint), &mut output));
    let removed = remove_group(&cgroup);
    bundle.end();
    let exit = result?;
    removed?;
    Ok(exit)
}

/// Replaces the spec's network namespace.
fn set_network(spec: &mut Spec, network: Network) -> Result<()> {
    let mut linux = spec.linux().clone().unwrap_or_default();
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    namespaces.retain(|one| one.typ() != LinuxNamespaceType::Network);
    let builder = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network);
    let builder = match network {
        Network::Host => None,
        Network::None => Some(builder),
        Network::Path(path) => Some(builder.path(path)),
    };
    if let Some(builder) = builder {
        let namespace = builder.build();
        namespaces.push(
            namespace
                .map_err(|error| Error::new(Kind::Invalid, "cannot set the network").with_source(error))?,
        );
    }
    linux.set_namespaces(Some(namespaces));
    spec.set_linux(Some(linux));
    Ok(())
}

/// `place` is the bundle, and where the root is mounted.
fn run_prepared(prepared: Prepared, place: (&Bundle, &Path), output: &mut Output) -> Result<OnceExit> {
    let plan = prepared.plan_file()?;
    let (out, out_inside) = io::pipe().map_err(failed)?;
    let (err, err_inside) = io::pipe().map_err(failed)?;
    let (control, mut helper) = start_process(Path::new("/proc/self/exe"), ["--once"])?;
    let request = ToShim { number: 1, request: Request::Once(Box::new(prepared.create)) };
    let fds = [plan.as_fd(), out_inside.as_fd(), err_inside.as_fd()];
    send_blocking(control.as_fd(), &request, &fds).map_err(failed)?;
    drop((out_inside, err_inside));
    let mut streams = [(OutputStream::Stdout, Some(out)), (OutputStream::Stderr, Some(err))];
    let (ended, copied) = thread::scope(|scope| {
        // While hooks run too: a program whose output nobody takes stands still.
        let copying = scope.spawn(|| copy(&mut streams, output));
        (follow(control, place), copying.join())
    });
    helper.wait().map_err(failed)?;
    copied.unwrap_or_else(|_| Err(io::Error::other("the copying of output panicked"))).map_err(failed)?;
    ended
}

fn failed(error: io::Error) -> Error {
    Error::new(Kind::Internal, "cannot run a process in a container").with_source(error)
}

/// Runs the hooks of the host when the helper says that it is their time; how the container ended. Once this has let go of
/// `control` the helper ends it.
fn follow(control: OwnedFd, (bundle, mountpoint): (&Bundle, &Path)) -> Result<OnceExit> {
    let mut heard = Assembler::default();
    loop {
        match heard.receive_blocking::<FromShim>(&control).map_err(failed)? {
            Some((FromShim::Reply { answer: Answer::Mounted(pid), .. }, _)) => {
                bundle.before_create(pid, mountpoint)?;
                let ran = ToShim { number: 2, request: Request::HooksRan { id: String::new() } };
                send_blocking(control.as_fd(), &ran, &[]).map_err(failed)?;
            }
            Some((FromShim::Reply { answer: Answer::Pid(pid), .. }, _)) => bundle.after_start(pid)?,
            Some((FromShim::Reply { answer: Answer::Exit { code, oom_killed }, .. }, _)) => {
                return Ok(OnceExit { code, oom_killed });
            }
            Some((FromShim::Failed { kind, message, .. }, _)) => {
                return Err(Error::new(kind.into(), message));
            }
            _ => {
                return Err(Error::new(Kind::Internal, "the helper process of a one-shot run was killed"));
            }
        }
    }
}

/// Copies both streams until both have ended.
fn copy(streams: &mut [(OutputStream, Option<io::PipeReader>); 2], output: &mut Output) -> io::Result<()> {
    let mut data = vec![0; 64 << 10];
    while streams.iter().any(|(_, pipe)| pipe.is_some()) {
        let open: Vec<&io::PipeReader> = streams.iter().filter_map(|(_, pipe)| pipe.as_ref()).collect();
        let mut fds: Vec<PollFd<'_>> = open.iter().map(|pipe| PollFd::new(*pipe, PollFlags::IN)).collect();
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        let is_ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut ready = is_ready.into_iter();
        for (stream, pipe) in streams.iter_mut().filter(|(_, pipe)| pipe.is_some()) {
            if !ready.next().unwrap_or(false) {
                continue;
            }
            let count = match pipe {
                Some(pipe) => pipe.read(&mut data)?,
                None => 0,
            };
            match count {
                0 => *pipe = None,
                count => output(*stream, &data[..count]),
            }
        }
    }
    Ok(())
}
