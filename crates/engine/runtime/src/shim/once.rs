//! A one-shot run: one container, no sandbox, no socket to come back to.
//!
//! ```text
//!   caller                    helper
//!     | Once [plan, out, err] -> |
//!     | <--------- Reply Mounted |   (only when there are hooks of the host to run)
//!     | HooksRan --------------> |
//!     | <------------- Reply Pid |   the program runs: time for hooks that follow its start
//!     | <------------ Reply Exit |
//! ```
//!
//! The caller's death closes the control socket; the helper then kills the container and ends. Should the helper be
//! killed, its own death kills the container's init (see `ProcessPlan::dies_with_parent`).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::init::{HOOKS_RAN, START};
use crate::launch::{Launch, PidNamespace, Status, container_child, launch, read_status};
use crate::oom::Oom;
use crate::wire::{Answer, Assembler, Create, FromShim, Request, ToShim, WireKind, send_blocking};

pub(super) fn run(control: &OwnedFd, message: ToShim, fds: Vec<OwnedFd>) -> io::Result<()> {
    let Request::Once(create) = message.request else { return Err(io::ErrorKind::InvalidData.into()) };
    let caller = Caller { control, number: message.number };
    let reply = match run_container(&caller, *create, fds) {
        Ok(answer) => FromShim::Reply { to: message.number, answer },
        Err((kind, text)) => FromShim::Failed { to: message.number, kind, message: text },
    };
    send_blocking(control.as_fd(), &reply, &[])
}

/// Who asked.
struct Caller<'a> {
    control: &'a OwnedFd,
    number: u64,
}

impl Caller<'_> {
    fn tell(&self, answer: Answer) -> io::Result<()> {
        send_blocking(self.control.as_fd(), &FromShim::Reply { to: self.number, answer }, &[])
    }

    /// Until hooks of the host have run. One that fails lets the caller go.
    fn run_hooks(&self, pid: u32) -> io::Result<()> {
        self.tell(Answer::Mounted(pid))?;
        match Assembler::default().receive_blocking::<ToShim>(self.control)? {
            Some((ToShim { request: Request::HooksRan { .. }, .. }, _)) => Ok(()),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

fn run_container(
    caller: &Caller<'_>,
    create: Create,
    fds: Vec<OwnedFd>,
) -> Result<Answer, (WireKind, String)> {
    let failed = |error: io::Error| (WireKind::Internal, format!("cannot run {}: {error}", create.id));
    let [plan, out, err] =
        <[OwnedFd; 3]>::try_from(fds).map_err(|_| failed(io::ErrorKind::InvalidData.into()))?;
    // Orphans of the container come to the helper and end with it.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| failed(errno.into()))?;
    let null = File::open("/dev/null").map_err(failed)?;
    let unified = create.unified.as_ref().map(File::open).transpose().map_err(failed)?;
    let how = Launch {
        clone: create.clone,
        pid_namespace: create.join_pid.as_deref().map_or(PidNamespace::Own, PidNamespace::Path),
        unified: unified.as_ref().map(AsFd::as_fd),
        streams: [null.as_fd(), out.as_fd(), err.as_fd()],
        preserved: &[],
        user: None,
    };
    let (child, init) = launch(&how, &[plan.as_fd()], container_child).map_err(failed)?;
    // The caller sees the end of output when the container alone holds the streams.
    drop((out, err, plan));
    let oom = create.oom.and_then(|(counter, control)| Oom::watch(counter, control).ok());
    let pid = Pid::from_raw(child.pid as i32).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
    loop {
        match read_status(init.as_fd(), true).map_err(failed)? {
            Some(Status::Mounted) => {
                caller.run_hooks(child.pid).map_err(failed)?;
                hako_sys::send(init.as_fd(), &[HOOKS_RAN], &[]).map_err(failed)?;
            }
            Some(Status::Ready(_)) => {
                hako_sys::send(init.as_fd(), &[START], &[]).map_err(failed)?;
            }
            Some(Status::Failed { code, message }) => {
                let kind = match code {
                    127 => WireKind::NotFound,
                    126 => WireKind::Forbidden,
                    _ => WireKind::FailedPrecondition,
                };
                return Err((kind, message));
            }
            _ => break,
        }
    }
    // One that is gone is noticed below.
    let _gone = caller.tell(Answer::Pid(child.pid));
    wait_or_lose(caller.control, child.pidfd.as_fd(), pid);
    let status = waitpid(Some(pid), WaitOptions::empty()).map_err(|errno| failed(errno.into()))?;
    let code = status.map_or(255, |(_, status)| {
        status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0))
    });
    let oom_killed = oom.is_some_and(|(oom, _)| oom.kills() > 0);
    Ok(Answer::Exit { code, oom_killed })
}

/// Until the container ends; it is killed when the caller is gone.
fn wait_or_lose(control: &OwnedFd, pidfd: std::os::fd::BorrowedFd<'_>, pid: Pid) {
    loop {
        let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        if poll(&mut fds, None).is_err() {
            continue;
        }
        if !fds[1].revents().is_empty() {
            // It may have ended just now.
            let _ended = kill_process(pid, Signal::KILL);
            return;
        }
        if !fds[0].revents().is_empty() {
            return;
        }
    }
}
