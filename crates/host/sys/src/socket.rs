//! What a socket knows of its other end, and of where it is.
#![expect(unsafe_code, reason = "socket ioctls and options")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What was written to a stream socket of this machine and has not been read, in bytes that include the kernel's own for
/// them; zero when the other end has read all, or is closed (`SIOCOUTQ`, which unix(7) sockets have too).
pub fn unread_by_peer(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut unread: libc::c_int = 0;
    // SAFETY: TIOCOUTQ, which is SIOCOUTQ, writes one int.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unread) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(usize::try_from(unread).unwrap_or(0)),
    }
}

/// The number that a socket's network namespace has until the machine ends: programs that the kernel runs know it by this
/// (`SO_NETNS_COOKIE`).
///
/// # Errors
/// What the kernel says; it has such numbers since 5.14.
pub fn network_namespace_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let (mut cookie, mut size) = (0_u64, size_of::<u64>() as libc::socklen_t);
    let (level, option) = (libc::SOL_SOCKET, libc::SO_NETNS_COOKIE);
    let place = (&raw mut cookie).cast();
    // SAFETY: the option is a 64-bit number, for which there is room.
    match unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, place, &raw mut size) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(cookie),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_written_is_unread_until_it_is_read_or_nobody_can() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let unread = |socket: &UnixStream| unread_by_peer(socket.as_fd()).unwrap();
        assert_eq!(unread(&ours), 0);
        ours.write_all(b"head").unwrap();
        assert!(unread(&ours) >= 4);
        theirs.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(unread(&ours), 0);
        ours.write_all(b"more").unwrap();
        drop(theirs);
        assert_eq!(unread(&ours), 0);
    }
}
