//! Starting shims from a thread that has hardly anything open.
//!
//! What is executed copies and closes each descriptor that its parent has, and an engine has two for every sandbox: half a
//! millisecond of each start among a thousand. One thread with a table of its own starts all shims.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::OnceLock;

use hako_error::Result;
use parking_lot::Mutex;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::{internal, start_process};

/// The most of a message: an executable and an argument, with a byte between them; or the text of an error behind one.
const MESSAGE_BYTES: usize = 2 * 4096;
const STARTED: u8 = b'S';
const FAILED: u8 = b'F';

/// Starts a shim, with an argument, and waits until it stands by itself.
pub(super) fn start(exe: &Path, word: Option<&OsStr>) -> Result<OwnedFd> {
    static STARTER: OnceLock<Option<Mutex<OwnedFd>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| hako_sys::spawn_apart("shim-starter", serve).ok().map(Mutex::new));
    start_by(starter.as_ref(), exe, word)
}

/// A process that was started, and the way to its shim.
type Started = (io::Result<OwnedFd>, u32);

fn start_by(starter: Option<&Mutex<OwnedFd>>, exe: &Path, word: Option<&OsStr>) -> Result<OwnedFd> {
    let failed = |error| internal("cannot start a shim", error);
    let started = match starter {
        Some(starter) => ask(&starter.lock(), exe, word).map_err(failed)?,
        None => None,
    };
    let (socket, pid) = match started {
        Some(started) => started,
        // A kernel that has no tables for threads, or a thread that ended.
        None => {
            let (socket, child) = start_process(exe, word)?;
            (Ok(socket), child.id())
        }
    };
    // What was started leaves the shim as its child and ends, so that the shim is nobody's zombie later. A shim that nobody
    // has a socket of ends.
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    rustix::io::retry_on_intr(|| waitpid(pid, WaitOptions::empty()))
        .map_err(|error| internal("cannot wait for a shim's start", error))?;
    socket.map_err(failed)
}

/// None when the thread is not there any more.
fn ask(starter: &OwnedFd, exe: &Path, word: Option<&OsStr>) -> io::Result<Option<Started>> {
    let (mut answer, mut fds) = ([0; MESSAGE_BYTES], Vec::new());
    let order = [exe.as_os_str().as_bytes(), word.unwrap_or_default().as_bytes()].join(&0);
    let asked = hako_sys::send(starter.as_fd(), &order, &[])
        .and_then(|_| hako_sys::receive(starter.as_fd(), &mut answer, &mut fds));
    match (asked, &answer) {
        // The bytes are there also where the descriptor got lost.
        (received, [STARTED, a, b, c, d, ..]) => {
            let socket = received.and_then(|_| fds.pop().ok_or_else(|| io::ErrorKind::BrokenPipe.into()));
            Ok(Some((socket, u32::from_ne_bytes([*a, *b, *c, *d]))))
        }
        (Ok(count @ 1..), [FAILED, text @ ..]) => {
            Err(io::Error::other(String::from_utf8_lossy(&text[..count - 1]).into_owned()))
        }
        (Err(error), _)
            if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
        {
            Err(error)
        }
        _ => Ok(None),
    }
}

/// The thread: one shim after the other.
fn serve(socket: OwnedFd) {
    serve_by(&socket, hako_sys::send);
}

fn serve_by(socket: &OwnedFd, send: impl Fn(BorrowedFd<'_>, &[u8], &[BorrowedFd<'_>]) -> io::Result<usize>) {
    let mut order = [0; MESSAGE_BYTES];
    while let Ok(count @ 1..) = hako_sys::receive(socket.as_fd(), &mut order, &mut Vec::new()) {
        let mut parts = order[..count].splitn(2, |byte| *byte == 0).map(OsStr::from_bytes);
        let exe = Path::new(parts.next().unwrap_or_default());
        let word = parts.next().filter(|word| !word.is_empty());
        let told = start_process(exe, word).map_err(|error| error.chain()).and_then(|(shim, mut child)| {
            let answer = [&[STARTED][..], &child.id().to_ne_bytes()].concat();
            send(socket.as_fd(), &answer, &[shim.as_fd()]).map_err(|error| {
                // Nobody else knows of it; without its socket it ends.
                drop(shim);
                let _ended = child.wait();
                error.to_string()
            })
        });
        // Whoever waits for an answer that cannot be had at all sees the end of this thread.
        let told = told.or_else(|text| {
            let text = &text.as_bytes()[..text.len().min(MESSAGE_BYTES - 1)];
            send(socket.as_fd(), &[&[FAILED], text].concat(), &[])
        });
        if told.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::cell::Cell;
    use std::process::Command;

    /// Stands for a shim: what is started ends.
    fn exe() -> &'static Path {
        Path::new("/bin/true")
    }

    #[test]
    fn where_the_thread_ended_a_shim_is_started_without_it() {
        let (ours, theirs) = hako_sys::socket_pair().unwrap();
        drop(theirs);
        let starter = Mutex::new(ours);
        for _ in 0..2 {
            start_by(Some(&starter), exe(), None).unwrap();
        }
    }

    #[test]
    fn an_answer_that_cannot_be_sent_fails_one_start_and_leaves_no_child() {
        let (ours, theirs) = hako_sys::socket_pair().unwrap();
        let thread = std::thread::spawn(move || {
            let lost = Cell::new(None);
            serve_by(&theirs, |socket, data, fds| match (lost.get(), data) {
                (None, [STARTED, pid @ ..]) => {
                    lost.set(Some(u32::from_ne_bytes(pid.try_into().unwrap())));
                    Err(Errno::NOBUFS.into())
                }
                _ => hako_sys::send(socket, data, fds),
            });
            lost.get().unwrap()
        });
        let starter = Mutex::new(ours);
        let error = start_by(Some(&starter), exe(), None).unwrap_err().chain();
        assert!(error.contains(&io::Error::from(Errno::NOBUFS).to_string()), "{error}");
        start_by(Some(&starter), exe(), None).unwrap();
        drop(starter);
        assert!(is_waited_for(thread.join().unwrap()));
    }

    #[test]
    fn what_was_started_is_waited_for_where_its_socket_got_lost() {
        let (ours, theirs) = hako_sys::socket_pair().unwrap();
        let thread = std::thread::spawn(move || {
            hako_sys::receive(theirs.as_fd(), &mut [0; MESSAGE_BYTES], &mut Vec::new()).unwrap();
            let child = Command::new(exe()).spawn().unwrap();
            let answer = [&[STARTED][..], &child.id().to_ne_bytes()].concat();
            send_many(&theirs, &answer, hako_sys::MAX_FDS + 4);
            child
        });
        let error = start_by(Some(&Mutex::new(ours)), exe(), None).unwrap_err().chain();
        assert!(error.contains("more descriptors"), "{error}");
        assert!(is_waited_for(thread.join().unwrap().id()));
    }

    /// Sends more descriptors than a receiver has space for.
    fn send_many(socket: &OwnedFd, data: &[u8], count: usize) {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        let fds = vec![socket.as_fd(); count];
        let message = SendAncillaryMessage::ScmRights(&fds);
        let mut space = vec![std::mem::MaybeUninit::uninit(); message.size()];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(message));
        sendmsg(socket, &[io::IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL).unwrap();
    }

    fn is_waited_for(pid: u32) -> bool {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap());
        waitpid(pid, WaitOptions::NOHANG).is_err_and(|error| error == Errno::CHILD)
    }
}
