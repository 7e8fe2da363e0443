//! Descriptors: over sockets and across exec.
#![expect(unsafe_code, reason = "a child rearranges descriptors by number")]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::mpsc;
use std::thread;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The most descriptors one message carries.
pub const MAX_FDS: usize = 8;

/// A connected pair that keeps message borders, closed on exec.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends bytes with descriptors; never raises SIGPIPE. Returns how many bytes were taken.
pub fn send(socket: BorrowedFd<'_>, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(rustix::io::retry_on_intr(|| {
        sendmsg(socket, &[IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL)
    })?)
}

/// Receives bytes, and descriptors into `fds`; 0 is the end.
pub fn receive(socket: BorrowedFd<'_>, data: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    receive_with(socket, data, fds, RecvFlags::empty())
}

/// As [`receive`]; `WouldBlock` when nothing is there.
pub fn receive_nonblocking(
    socket: BorrowedFd<'_>,
    data: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    receive_with(socket, data, fds, RecvFlags::DONTWAIT)
}

fn receive_with(
    socket: BorrowedFd<'_>,
    data: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    flags: RecvFlags,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(data)];
    let message = loop {
        match recvmsg(socket, &mut parts, &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    for received in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = received {
            fds.extend(rights);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a message carried more descriptors than expected"));
    }
    Ok(message.bytes)
}

/// Closes all descriptors but these, which get the numbers 0, 1, 2, … in the order given; 3 and up are closed on
/// exec. For a child just started: nothing else in the process may own a descriptor it uses later.
pub fn keep_only(fds: &[BorrowedFd<'_>]) -> io::Result<Vec<OwnedFd>> {
    // Above every target first, so that no source is overwritten before it is copied.
    let floor = i32::try_from(fds.len()).map_err(io::Error::other)?.max(3);
    let raised: Vec<OwnedFd> =
        fds.iter().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, floor)).collect::<Result<_, _>>()?;
    let mut kept = Vec::with_capacity(fds.len());
    for (target, source) in raised.into_iter().enumerate() {
        let target = i32::try_from(target).map_err(io::Error::other)?;
        let flags = if target < 3 { 0 } else { libc::O_CLOEXEC };
        // SAFETY: plain numbers; what `target` meant before is given up by contract.
        if unsafe { libc::dup3(source.as_raw_fd(), target, flags) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // The close_range below closes it.
        let _closed_below = source.into_raw_fd();
        // SAFETY: dup3 made `target` ours.
        kept.push(unsafe { OwnedFd::from_raw_fd(target) });
    }
    // SAFETY: closes numbers from `floor` up, which by contract nobody uses any more.
    if unsafe { libc::syscall(libc::SYS_close_range, floor, u32::MAX, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(kept)
}

/// Copies of descriptors this process was started with, by number.
pub fn inherited(first: u32, count: u32) -> io::Result<Vec<OwnedFd>> {
    let one = |number: u32| {
        let number = i32::try_from(number).map_err(io::Error::other)?;
        // SAFETY: fcntl alone looks at the number, and fails for one that is not open.
        match unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the kernel made a new descriptor that nobody else owns.
            copy => Ok(unsafe { OwnedFd::from_raw_fd(copy) }),
        }
    };
    (first..first.saturating_add(count)).map(one).collect()
}

/// Lets descriptors, by number, stay open in the program that is executed next.
pub fn keep_on_exec(first: u32, count: u32) -> io::Result<()> {
    for number in first..first.saturating_add(count) {
        let number = i32::try_from(number).map_err(io::Error::other)?;
        // SAFETY: only clears a flag.
        if unsafe { libc::fcntl(number, libc::F_SETFD, 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Marks every descriptor from `first` up as closed on exec (CVE-2024-21626: none may reach the program).
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: only sets a flag on descriptors.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Runs `body` on a thread that has a table of descriptors of its own, with the standard streams and its end of the pair
/// whose other end this returns. What is executed from there has nothing else to copy and to close, however much the others
/// have open. It lasts until `body` returns, which the end of the returned socket is for.
///
/// Nothing of the others gets there, as `body` is no closure; it uses no descriptor of a static either.
///
/// # Errors
/// When there is no thread or no table to be had.
pub fn spawn_apart(name: &str, body: fn(OwnedFd)) -> io::Result<OwnedFd> {
    let (ours, theirs) = socket_pair()?;
    let (number, (told, hears)) = (theirs.as_raw_fd(), mpsc::channel());
    let work = move || {
        let apart = leave_others(number);
        let is_apart = apart.is_ok();
        // Whoever waits for it is there until it is told.
        let _told = told.send(apart);
        if is_apart {
            // SAFETY: a copy in this thread's own table, which is nobody else's.
            body(unsafe { OwnedFd::from_raw_fd(number) });
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(work)?;
    hears.recv().map_err(io::Error::other)??;
    // Theirs is in their own table.
    drop(theirs);
    Ok(ours)
}

/// Leaves the table of the other threads for a copy of it, and closes all there but one and the standard streams.
fn leave_others(kept: RawFd) -> io::Result<()> {
    // SAFETY: it was told no descriptor but the number of one that is kept in the copy, and closes all others there.
    unsafe { crate::process::unshare_descriptors()? };
    let kept = u32::try_from(kept).map_err(io::Error::other)?;
    for (first, last) in [(3, kept - 1), (kept + 1, u32::MAX)] {
        // SAFETY: the table is this thread's, which owns nothing yet but the one that is kept.
        if first <= last && unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn a_thread_apart_has_nothing_of_the_others_open_and_ends_with_its_socket() {
        let (mut reader, writer) = io::pipe().unwrap();
        let apart = spawn_apart("apart", |socket| {
            // The listing is one itself.
            let open = std::fs::read_dir("/proc/thread-self/fd").unwrap().count();
            send(socket.as_fd(), &[u8::try_from(open).unwrap()], &[socket.as_fd()]).unwrap();
            assert_eq!(receive(socket.as_fd(), &mut [0], &mut Vec::new()).unwrap(), 0);
        });
        let apart = apart.unwrap();
        let (mut count, mut fds) = ([0], Vec::new());
        receive(apart.as_fd(), &mut count, &mut fds).unwrap();
        assert_eq!(count, [5], "the streams, the socket, the listing");
        // It has no copy of what is open here.
        drop(writer);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        drop(apart);
        let theirs = fds.pop().unwrap();
        assert_eq!(receive(theirs.as_fd(), &mut [0], &mut Vec::new()).unwrap(), 0);
    }

    #[test]
    fn descriptors_travel_with_a_message() {
        let (left, right) = socket_pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send(left.as_fd(), b"x", &[writer.as_fd()]).unwrap();
        drop(writer);
        let (mut data, mut fds) = ([0; 8], Vec::new());
        assert_eq!(receive(right.as_fd(), &mut data, &mut fds).unwrap(), 1);
        std::fs::File::from(fds.pop().unwrap()).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }
}
