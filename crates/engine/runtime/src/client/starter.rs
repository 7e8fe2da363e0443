//! Starting shims from a thread that has hardly anything open.
//!
//! What is executed copies and closes each descriptor that its parent has, and an engine has two for every sandbox: half a
//! millisecond of each start among a thousand. One thread with a table of its own starts all shims.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::OnceLock;

use hako_error::Result;
use parking_lot::Mutex;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::{internal, start_process};

/// A path, or the text of an error, and a byte before it.
const MESSAGE_BYTES: usize = 4096 + 1;
const STARTED: u8 = b'S';
const FAILED: u8 = b'F';

/// Starts a shim and waits until it stands by itself.
pub(super) fn start(exe: &Path) -> Result<OwnedFd> {
    static STARTER: OnceLock<Option<Mutex<OwnedFd>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| hako_sys::spawn_apart("shim-starter", serve).ok().map(Mutex::new));
    let (socket, pid) = match starter {
        Some(starter) => ask(&starter.lock(), exe).map_err(|error| internal("cannot start a shim", error))?,
        // A kernel that has no tables for threads.
        None => {
            let (socket, child) = start_process(exe, &[])?;
            (socket, child.id())
        }
    };
    // What was started leaves the shim as its child and ends, so that the shim is nobody's zombie later.
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    rustix::io::retry_on_intr(|| waitpid(pid, WaitOptions::empty()))
        .map_err(|error| internal("cannot wait for a shim's start", error))?;
    Ok(socket)
}

fn ask(starter: &OwnedFd, exe: &Path) -> io::Result<(OwnedFd, u32)> {
    hako_sys::send(starter.as_fd(), exe.as_os_str().as_bytes(), &[])?;
    let (mut answer, mut fds) = ([0; MESSAGE_BYTES], Vec::new());
    let count = hako_sys::receive(starter.as_fd(), &mut answer, &mut fds)?;
    match (&answer[..count], fds.pop()) {
        ([STARTED, pid @ ..], Some(socket)) => {
            let pid = <[u8; 4]>::try_from(pid).map_err(io::Error::other)?;
            Ok((socket, u32::from_ne_bytes(pid)))
        }
        ([FAILED, text @ ..], _) => Err(io::Error::other(String::from_utf8_lossy(text).into_owned())),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// The thread: one path after the other.
fn serve(socket: OwnedFd) {
    let mut path = [0; MESSAGE_BYTES];
    while let Ok(count @ 1..) = hako_sys::receive(socket.as_fd(), &mut path, &mut Vec::new()) {
        let exe = Path::new(OsStr::from_bytes(&path[..count]));
        let told = match start_process(exe, &[]) {
            Ok((shim, child)) => {
                let answer = [&[STARTED][..], &child.id().to_ne_bytes()].concat();
                hako_sys::send(socket.as_fd(), &answer, &[shim.as_fd()])
            }
            Err(error) => {
                let text = error.chain();
                let text = &text.as_bytes()[..text.len().min(MESSAGE_BYTES - 1)];
                hako_sys::send(socket.as_fd(), &[&[FAILED], text].concat(), &[])
            }
        };
        if told.is_err() {
            return;
        }
    }
}
