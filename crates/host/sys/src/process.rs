//! Starting and becoming processes.
#![expect(unsafe_code, reason = "clone3, execve and signal dispositions have no safe form")]

use std::ffi::{CString, c_char, c_int, c_long};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// The namespaces a child is born into, as `CLONE_NEW*` bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneFlags(pub u64);

impl CloneFlags {
    /// New mount namespace.
    pub const NEWNS: Self = Self(libc::CLONE_NEWNS as u64);
    /// New pid namespace.
    pub const NEWPID: Self = Self(libc::CLONE_NEWPID as u64);
    /// New network namespace.
    pub const NEWNET: Self = Self(libc::CLONE_NEWNET as u64);
    /// New IPC namespace.
    pub const NEWIPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// New UTS namespace.
    pub const NEWUTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// New cgroup namespace.
    pub const NEWCGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
    /// New user namespace.
    pub const NEWUSER: Self = Self(libc::CLONE_NEWUSER as u64);

    /// New time namespace.
    pub const NEWTIME: Self = Self(0x80);

    /// All that this type is for.
    const NAMESPACES: Self = Self::NEWNS
        .with(Self::NEWPID)
        .with(Self::NEWNET)
        .with(Self::NEWIPC)
        .with(Self::NEWUTS)
        .with(Self::NEWCGROUP)
        .with(Self::NEWUSER)
        .with(Self::NEWTIME);

    /// Both sets of bits.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits, unless some stand for what is none of a namespace, such as memory or descriptors.
    fn namespaces(self) -> io::Result<u64> {
        if Self::NAMESPACES.has(self) { Ok(self.0) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }
}

/// A child just started.
#[derive(Debug)]
pub struct Child {
    /// Its pid in our pid namespace.
    pub pid: u32,
    /// A descriptor that means this process whatever becomes of the pid.
    pub pidfd: OwnedFd,
}

/// The kernel's `struct clone_args`, as far as `CLONE_INTO_CGROUP` (Linux 5.7).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts a child that is a copy of this process, in new namespaces and, if given, in a group of cgroup version 2;
/// it runs `body` and exits with the code that returns. Refused when this process has more than one thread: the
/// copy would find locks held by threads it does not have.
pub fn spawn(
    flags: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> i32,
) -> io::Result<Child> {
    let mut args =
        CloneArgs { flags: flags.namespaces()?, exit_signal: libc::SIGCHLD as u64, ..CloneArgs::default() };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    start(args, body)
}

/// As [`spawn`], in our namespaces and a group of cgroup version 2, whose descriptor the child has no copy of.
pub fn spawn_into(cgroup: OwnedFd, body: impl FnOnce() -> i32) -> io::Result<Child> {
    let args = CloneArgs {
        flags: CLONE_INTO_CGROUP,
        cgroup: cgroup.as_raw_fd() as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    start(args, move || {
        drop(cgroup);
        body()
    })
}

/// As [`spawn`], but the child is our parent's, as we are: it is told of its end as it is of ours.
pub fn spawn_sibling(flags: CloneFlags, body: impl FnOnce() -> i32) -> io::Result<Child> {
    // The signal is ours too, the kernel takes no other with CLONE_PARENT.
    let flags = flags.namespaces()? | libc::CLONE_PARENT as u64;
    start(CloneArgs { flags, ..CloneArgs::default() }, body)
}

fn start(mut args: CloneArgs, body: impl FnOnce() -> i32) -> io::Result<Child> {
    // Every thread is a subdirectory: links = threads + 2.
    if fs::metadata("/proc/self/task")?.nlink() > 3 {
        return Err(io::Error::other("a process with several threads cannot start a container itself"));
    }
    let mut pidfd: c_int = -1;
    args.flags |= libc::CLONE_PIDFD as u64;
    args.pidfd = ptr::addr_of_mut!(pidfd) as u64;
    // SAFETY: `args` is a valid clone_args of the size given and outlives the call; without CLONE_VM the child is a
    // copy, and the check above makes sure that no other thread's locks are copied in a held state.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, ptr::addr_of!(args), size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // Unwinding must not run the parent's code in the child.
            let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(70);
            exit_now(code)
        }
        pid => Ok(Child {
            pid: u32::try_from(pid).map_err(io::Error::other)?,
            // SAFETY: the kernel stored a new descriptor that nobody else owns.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// The word that this process has one thread and starts no other, for [`fork`] where /proc cannot be asked any more.
#[derive(Debug)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Looks at /proc, which has to be this pid namespace's or an outer one's.
    pub fn check() -> io::Result<Self> {
        // Every thread is a subdirectory: links = threads + 2.
        match fs::metadata("/proc/self/task")?.nlink() {
            ..=3 => Ok(Self(())),
            _ => Err(io::Error::other("a process with several threads cannot be copied")),
        }
    }
}

/// Starts a child that is a copy of this process in the same namespaces, by the oldest call there is: filters of
/// containers answer others with errors. Returns its pid, as seen from here.
pub fn fork(_word: &SingleThreaded, body: impl FnOnce() -> i32) -> io::Result<u32> {
    // SAFETY: by `SingleThreaded` no other thread's locks are copied in a held state.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => exit_now(catch_unwind(AssertUnwindSafe(body)).unwrap_or(70)),
        pid => u32::try_from(pid).map_err(io::Error::other),
    }
}

/// Blocks all signals, so that they are waited for by [`wait_signal`] and none ends this process.
pub fn block_signals() -> io::Result<()> {
    // SAFETY: the set is initialised by sigfillset before use.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const all, ptr::null_mut()).into())
    }
}

/// The next signal that came, after [`block_signals`].
pub fn wait_signal() -> io::Result<i32> {
    loop {
        // SAFETY: the set is initialised by sigfillset before use; a null info is not written to.
        let signal = unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigwaitinfo(&raw const all, ptr::null_mut())
        };
        if signal != -1 {
            return Ok(signal);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Moves the calling thread into new namespaces; a pid namespace counts for its children only.
pub fn unshare(kinds: CloneFlags) -> io::Result<()> {
    let kinds = c_int::try_from(kinds.namespaces()?).map_err(io::Error::other)?;
    // SAFETY: namespaces only; neither memory nor descriptors are unshared.
    check(unsafe { libc::unshare(kinds) }.into())
}

/// Gives the calling thread a copy of the table of descriptors.
///
/// # Safety
/// From here on the thread uses no descriptor that another thread owns, and gives it none.
pub(crate) unsafe fn unshare_descriptors() -> io::Result<()> {
    // SAFETY: as the caller has it.
    check(unsafe { libc::unshare(libc::CLONE_FILES) }.into())
}

/// Ends this process without running destructors or exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Becomes another program; returns only the reason why not.
pub fn exec(path: &CString, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays are null-terminated and point to strings that live until the call returns.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Gives all signals their default meaning and unblocks them, as a new program expects.
pub fn reset_signals() {
    for signal in 1..=64 {
        if matches!(signal, libc::SIGKILL | libc::SIGSTOP | 32 | 33) {
            continue;
        }
        // SAFETY: SIG_DFL installs no code of ours; the call fails harmlessly for signals that do not exist.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: an all-zero sigset_t is a valid object that sigemptyset initialises.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Sends a signal by number, real-time ones included.
pub fn signal(pid: rustix::process::Pid, number: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::kill(pid.as_raw_nonzero().get(), number) }.into())
}

/// Blocks SIGCHLD, and returns a descriptor that is readable when a child ended.
pub fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before use; signalfd returns a new descriptor.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()).into())?;
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd.into())?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Blocks all signals, and returns a descriptor that [`take_signal`] reads them from.
pub fn all_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigfillset before use; signalfd returns a new descriptor.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()).into())?;
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd.into())?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The next signal that waits in a descriptor of [`all_signals`].
pub fn take_signal(signals: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(signals, &mut info) {
        Ok(0) | Err(rustix::io::Errno::AGAIN) => Ok(None),
        // The structure begins with the number.
        Ok(_) => Ok(Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))),
        Err(rustix::io::Errno::INTR) => take_signal(signals),
        Err(error) => Err(error.into()),
    }
}

fn check(result: c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets supplementary groups, group and user of this (single-threaded) process, in this order; capabilities are
/// kept for [`crate::apply_capabilities`] to settle.
pub fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: plain numbers and an array whose length is given; raw calls concern this one thread only.
    unsafe {
        check(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0).into())?;
        check(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
        check(libc::prctl(libc::PR_SET_KEEPCAPS, 0, 0, 0, 0).into())
    }
}

/// Becomes user and group 0 of the user namespace just entered, without further groups. All capabilities in it stay.
pub fn become_root() -> io::Result<()> {
    // SAFETY: plain numbers; no groups means no array; raw calls concern this one thread only.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, 0, ptr::null::<u32>()))?;
        check(libc::syscall(libc::SYS_setresgid, 0, 0, 0))?;
        check(libc::syscall(libc::SYS_setresuid, 0, 0, 0))
    }
}

/// Makes files for another user from here on, with all capabilities that are permitted.
pub fn set_fs_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain numbers; raw calls concern this one thread only. They return the old id, also where they fail.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
        if libc::syscall(libc::SYS_setfsuid, u32::MAX) != c_long::from(uid) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    // The kernel takes those for files from whoever is not user 0.
    crate::caps::raise_permitted()
}

/// Sets one resource limit by its number (`RLIMIT_*`).
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` outlives the call.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, ptr::null::<libc::rlimit64>())
    })
}

/// Sets the NIS domain name of this UTS namespace.
pub fn set_domain_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe `name`.
    check(unsafe { libc::syscall(libc::SYS_setdomainname, name.as_ptr(), name.len()) })
}

/// Gives this process a session keyring of its own, so that it does not see the caller's keys.
pub fn join_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_long = 1;
    // SAFETY: a null name means an anonymous keyring.
    check(
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<c_char>()) }.min(0),
    )
}

/// Sets the loopback link of this network namespace up.
pub fn set_up_loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: an all-zero ifreq is valid; name and flags are set before the kernel reads them.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as c_char;
        request.ifr_name[1] = b'o' as c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request).into())
    }
}

/// Gives memory that is free in our heap back to the kernel.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions.
    unsafe {
        libc::malloc_trim(0)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_namespace_is_neither_unshared_nor_shared() {
        for bits in [libc::CLONE_FILES, libc::CLONE_VM, libc::CLONE_FILES | libc::CLONE_NEWNET] {
            // Elsewhere, as it would be this thread's for good.
            let unshared = std::thread::spawn(move || unshare(CloneFlags(bits as u64))).join().unwrap();
            assert_eq!(unshared.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bits:#x}");
            let child = spawn(CloneFlags(bits as u64), None, || 0);
            assert_eq!(child.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bits:#x}");
        }
    }

    #[test]
    fn a_process_with_threads_is_refused() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || receiver.recv());
        assert!(spawn(CloneFlags::default(), None, || 0).is_err());
        drop(sender);
        assert!(thread.join().unwrap().is_err());
    }
}
