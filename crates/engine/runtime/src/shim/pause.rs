//! The first process of a pid namespace that containers share.
//!
//! Invariant: it has nothing of the host that a container with CAP_SYS_PTRACE could reach through /proc/1: an empty
//! root, no descriptors but its signals, and no way back.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use hako_sys::{Child, CloneFlags, SingleThreaded, Title};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{DumpableBehavior, Signal, WaitOptions};

use super::setup::ROOT;

/// What it is called in Kubernetes.
const SHOWN: &str = "/pause";

/// Starts it; it ends with the shim.
pub(super) fn start(state_dir: &Path) -> Result<Child, String> {
    let root = state_dir.join(ROOT);
    let (ours, theirs) = hako_sys::socket_pair().map_err(|error| format!("cannot make a socket: {error}"))?;
    let child = hako_sys::spawn(CloneFlags::NEWPID.with(CloneFlags::NEWNS), None, || {
        let isolated = isolate(&root);
        let said = isolated.as_ref().map_or_else(ToString::to_string, |()| String::new());
        // Nobody is left to tell of a socket that broke.
        let _told = hako_sys::send(theirs.as_fd(), format!(".{said}").as_bytes(), &[]);
        i32::from(isolated.and_then(|()| reap()).is_err())
    });
    let child = child.map_err(|error| format!("cannot start the first process of the sandbox: {error}"))?;
    let mut said = [0; 512];
    let count = hako_sys::receive(ours.as_fd(), &mut said, &mut Vec::new()).unwrap_or(0);
    match &said[..count] {
        [b'.'] => Ok(child),
        text => Err(format!("first process of the sandbox: {}", String::from_utf8_lossy(text))),
    }
}

/// Leaves the host's files behind.
fn isolate(root: &Path) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // The input is /dev/null; the rest may be the engine's.
    rustix::stdio::dup2_stdout(rustix::stdio::stdin())?;
    rustix::stdio::dup2_stderr(rustix::stdio::stdin())?;
    let _unnamed = rustix::thread::set_name(c"hako-pause");
    // The command line of the shim, which it is a copy of, tells of the host.
    if let (Ok(word), Ok(title)) = (SingleThreaded::check(), Title::of_own()) {
        title.show(&word, &[SHOWN]);
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    rustix::mount::mount("tmpfs", root, "tmpfs", flags, c"mode=0555,size=4k")?;
    std::env::set_current_dir(root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")
}

/// Takes every process whose parent ended, as the first process of a pid namespace has to.
fn reap() -> io::Result<()> {
    hako_sys::keep_only(&[])?;
    let signals = hako_sys::child_signals()?;
    loop {
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        match poll(&mut [PollFd::new(&signals, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut drained = [0; 1024];
        let _spurious = rustix::io::read(&signals, &mut drained);
    }
}
