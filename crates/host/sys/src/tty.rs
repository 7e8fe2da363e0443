//! Terminals of a container's own devpts.
#![expect(unsafe_code, reason = "terminal ioctls")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::termios::{Winsize, tcsetwinsize};

/// Opens a terminal of the devpts mounted at `pts`: master and slave. A `ptmx` that is not devpts' own
/// (a device node 5:2) is refused, for a hostile image may have put anything there.
pub fn open_terminal(pts: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<(OwnedFd, OwnedFd)> {
    const DEVPTS_MAGIC: i64 = 0x1cd1;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master =
        openat2(pts, "ptmx", flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV)?;
    if rustix::fs::fstatfs(&master)?.f_type as i64 != DEVPTS_MAGIC {
        return Err(io::Error::other("/dev/pts is not a devpts file system"));
    }
    let unlock: i32 = 0;
    // SAFETY: TIOCSPTLCK reads an int; TIOCGPTPEER takes open flags and returns a new descriptor.
    let slave = unsafe {
        if libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) == -1 {
            return Err(io::Error::last_os_error());
        }
        let slave = libc::ioctl(
            master.as_raw_fd(),
            libc::TIOCGPTPEER,
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        );
        if slave == -1 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(slave)
    };
    if columns > 0 && rows > 0 {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(master.as_fd(), size)?;
    }
    Ok((master, slave))
}

/// Makes a terminal the controlling one of this session, which this process leads.
pub fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the argument 0 means not to steal it from another session.
    match unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
