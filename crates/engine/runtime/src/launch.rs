//! Starting an init: clone3, and the status socket between it and its parent.
//!
//! ```text
//!   without a user namespace          with one
//!   parent --clone3--> init           parent --clone3--> stager: what takes the host's rights, setns(user)
//!                                       |                  |--clone3(PARENT)--> init
//!                                       | <-- 'B' pidfd -- |
//! ```

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::Path;

use hako_sys::{Child, CloneFlags};
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};
use serde::{Deserialize, Serialize};

use crate::init::{BORN, ERROR, Gate, MOUNTED, READY, run_container, run_exec};
use crate::plan::{ContainerPlan, ExecPlan, decode, encode};
use crate::user::{UserNamespace, host_pid};
use rustix::process::{Pid, WaitOptions, waitpid};

/// Whose pid namespace a child is born into, unless it gets a new one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PidNamespace<'a> {
    /// Ours.
    Own,
    /// The one at a path.
    Path(&'a Path),
    /// A process's, by pidfd.
    Of(BorrowedFd<'a>),
    /// The one a descriptor of it says.
    Entered(BorrowedFd<'a>),
}

/// How a child is started.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub clone: u64,
    pub pid_namespace: PidNamespace<'a>,
    pub unified: Option<BorrowedFd<'a>>,
    pub streams: [BorrowedFd<'a>; 3],
    /// What the program gets as 3, 4, … besides.
    pub preserved: &'a [OwnedFd],
    /// The user namespace that a container's init is born into. Its body gets the way there.
    pub user: Option<&'a UserNamespace>,
}

/// What a process has that is to bear an init in a user namespace.
#[derive(Debug)]
pub(crate) struct Birth {
    pub user: UserNamespace,
    /// Where the init is told of, or why there is none.
    pub socket: OwnedFd,
}

/// What an init says.
#[derive(Debug)]
pub(crate) enum Status {
    /// Set up but for its root, while hooks of the host run.
    Mounted,
    /// Set up; with the terminal's master, if it has one.
    Ready(Option<OwnedFd>),
    /// It gave up.
    Failed { code: u8, message: String },
    /// It became its program, or died.
    Closed,
}

/// Reads one message of an init; `Ok(None)` when there is none yet.
pub(crate) fn read_status(socket: BorrowedFd<'_>, wait: bool) -> io::Result<Option<Status>> {
    let (mut data, mut fds) = ([0; 4096], Vec::new());
    let received = if wait {
        hako_sys::receive(socket, &mut data, &mut fds)
    } else {
        hako_sys::receive_nonblocking(socket, &mut data, &mut fds)
    };
    let count = match received {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
        other => other?,
    };
    Ok(Some(match data[..count] {
        [MOUNTED, ..] => Status::Mounted,
        [READY, ..] => Status::Ready(fds.pop()),
        [ERROR, code, ref text @ ..] => {
            Status::Failed { code, message: String::from_utf8_lossy(text).into_owned() }
        }
        _ => Status::Closed,
    }))
}

/// Starts a child that runs `body` with the descriptors given (0 to 2 its streams, 3 the status socket, then
/// `extra`); returns it with our end of the status socket.
pub(crate) fn launch(
    how: &Launch<'_>,
    extra: &[BorrowedFd<'_>],
    body: impl FnOnce(Vec<OwnedFd>, Option<Birth>) -> i32,
) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = hako_sys::socket_pair()?;
    let births = how.user.map(|user| Ok::<_, io::Error>((hako_sys::socket_pair()?, user))).transpose()?;
    let mut fds = how.streams.to_vec();
    fds.extend(how.preserved.iter().map(AsFd::as_fd));
    fds.push(theirs.as_fd());
    fds.extend_from_slice(extra);
    if let Some(((_, socket), user)) = &births {
        fds.extend([user.fd.as_fd(), socket.as_fd()]);
    }
    let home = match how.pid_namespace {
        PidNamespace::Own => None,
        _ => Some(File::open("/proc/self/ns/pid")?),
    };
    match how.pid_namespace {
        PidNamespace::Own => {}
        PidNamespace::Path(path) => {
            move_into_link_name_space(File::open(path)?.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
        }
        PidNamespace::Entered(namespace) => {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::ProcessID))?;
        }
        PidNamespace::Of(process) => move_into_thread_name_spaces(process, ThreadNameSpaceType::PROCESS_ID)?,
    }
    let kinds = CloneFlags(if births.is_some() { 0 } else { how.clone });
    let child = hako_sys::spawn(kinds, how.unified, || match hako_sys::keep_only(&fds) {
        Ok(mut kept) => {
            leave_open(kept.drain(3..3 + how.preserved.len()));
            let birth = how.user.and_then(|user| {
                let (socket, fd) = (kept.pop()?, kept.pop()?);
                Some(Birth { user: UserNamespace { fd, root: user.root }, socket })
            });
            body(kept, birth)
        }
        Err(_) => 1,
    });
    if let Some(home) = home {
        move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    }
    drop(fds);
    match births {
        None => Ok((child?, ours)),
        Some(((births, theirs), _)) => {
            drop(theirs);
            let stager = child?;
            let born = take_born(&births);
            // It ends when it has said so.
            let pid = i32::try_from(stager.pid).ok().and_then(Pid::from_raw);
            let _reaped = rustix::io::retry_on_intr(|| waitpid(pid, WaitOptions::empty()));
            Ok((born?, ours))
        }
    }
}

/// The init that a stager bore.
fn take_born(births: &OwnedFd) -> io::Result<Child> {
    let (mut data, mut fds) = ([0; 4096], Vec::new());
    let count = hako_sys::receive(births.as_fd(), &mut data, &mut fds)?;
    let gone = || io::Error::other("the process that sets the container up was killed");
    match data[..count] {
        [BORN] => {
            let pidfd = fds.pop().ok_or_else(gone)?;
            let pid = host_pid(pidfd.as_fd()).ok_or_else(gone)?;
            Ok(Child { pid, pidfd })
        }
        [ERROR, _, ref text @ ..] => Err(io::Error::other(String::from_utf8_lossy(text).into_owned())),
        _ => Err(gone()),
    }
}

/// What a child does with a container's plan in `fds[4]` and perhaps an empty mount namespace in `fds[5]`, or an exec's with its target in `fds[5]`.
pub(crate) fn container_child(mut fds: Vec<OwnedFd>, birth: Option<Birth>) -> i32 {
    let empty = (fds.len() > 5).then(|| fds.pop()).flatten();
    let Ok([stdin, stdout, stderr, status, plan]) = <[OwnedFd; 5]>::try_from(fds) else { return 1 };
    leave_open([stdin, stdout, stderr]);
    match read_plan::<ContainerPlan>(plan) {
        Some((plan, seccomp)) => run_container(&plan, &seccomp, &status, &Gate::Socket, (birth, empty)),
        None => 1,
    }
}

/// See [`container_child`]. `root` is that of the container's user namespace, where that is not ours.
pub(crate) fn exec_child(fds: Vec<OwnedFd>, root: Option<(u32, u32)>) -> i32 {
    let Ok([stdin, stdout, stderr, status, plan, target]) = <[OwnedFd; 6]>::try_from(fds) else { return 1 };
    leave_open([stdin, stdout, stderr]);
    match read_plan::<ExecPlan>(plan) {
        Some((plan, seccomp)) => run_exec(&plan, &seccomp, (target.as_fd(), root), &status),
        None => 1,
    }
}

/// The streams belong to the program that is executed: they must not be closed on the way there.
pub(crate) fn leave_open(streams: impl IntoIterator<Item = OwnedFd>) {
    for stream in streams {
        let _number = stream.into_raw_fd();
    }
}

/// A plan as a descriptor that can be handed on unread.
pub(crate) fn plan_file<T: Serialize>(
    plan: &T,
    seccomp: &[hako_sys::SeccompInstruction],
) -> hako_error::Result<OwnedFd> {
    let bytes = encode(plan, seccomp)?;
    let write = || -> io::Result<OwnedFd> {
        let mut file = File::from(rustix::fs::memfd_create("plan", rustix::fs::MemfdFlags::CLOEXEC)?);
        file.write_all(&bytes)?;
        Ok(file.into())
    };
    write().map_err(|error| {
        hako_error::Error::new(hako_error::Kind::Internal, "cannot keep a plan in memory").with_source(error)
    })
}

fn read_plan<T: for<'de> Deserialize<'de>>(fd: OwnedFd) -> Option<(T, Vec<hako_sys::SeccompInstruction>)> {
    let (mut file, mut bytes) = (File::from(fd), Vec::new());
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_end(&mut bytes).ok()?;
    decode(&bytes)
}
