//! What the kernel said when it refused.

use hako_error::{Classify, Kind};
use std::fmt;

/// An error number of the kernel, shown by its meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// No such object.
    pub const NOENT: Self = Self(libc::ENOENT);
    /// No such link.
    pub const NODEV: Self = Self(libc::ENODEV);
    /// No such route.
    pub const SRCH: Self = Self(libc::ESRCH);
    /// It exists already.
    pub const EXIST: Self = Self(libc::EEXIST);
    /// It is in use.
    pub const BUSY: Self = Self(libc::EBUSY);

    /// The kernel has no such kind of object.
    pub const OPNOTSUPP: Self = Self(libc::EOPNOTSUPP);
    /// Another link on the same parent has this address.
    pub const ADDRINUSE: Self = Self(libc::EADDRINUSE);
    /// The kernel does not have this family of protocols, or has it switched off.
    pub const AFNOSUPPORT: Self = Self(libc::EAFNOSUPPORT);
    /// A bridge has as many ports as it can have.
    pub const XFULL: Self = Self(libc::EXFULL);

    fn kind(self) -> Kind {
        match self.0 {
            libc::ENOENT | libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL | libc::ENXIO => Kind::NotFound,
            libc::EEXIST => Kind::AlreadyExists,
            libc::EPERM | libc::EACCES => Kind::Forbidden,
            libc::EBUSY => Kind::FailedPrecondition,
            libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT => Kind::Unimplemented,
            libc::ENOMEM | libc::ENOSPC | libc::ENOBUFS | libc::ENFILE | libc::EMFILE => Kind::Exhausted,
            libc::EAGAIN | libc::EINTR => Kind::Unavailable,
            _ => Kind::Internal,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.0 {
            libc::EPERM => ", run as root",
            libc::EOPNOTSUPP => ", a kernel module may be missing",
            _ => "",
        };
        write!(f, "{}{hint}", std::io::Error::from_raw_os_error(self.0))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a call over netlink failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel said no.
    #[error("{action}: {errno}{detail}")]
    Refused {
        /// What was asked, naming the object.
        action: String,
        /// The kernel's reason.
        errno: Errno,
        /// The kernel's own sentence, led by `: `, or nothing.
        detail: String,
    },
    /// The socket failed.
    #[error("{action}: netlink socket failed")]
    Socket {
        /// What was asked, naming the object.
        action: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The kernel's answer makes no sense to us.
    #[error("{action}: the kernel's answer is malformed")]
    Malformed {
        /// What was asked, naming the object.
        action: String,
    },
    /// A namespace could not be entered.
    #[error("enter network namespace")]
    Namespace {
        /// The cause.
        source: std::io::Error,
    },
}

impl NetlinkError {
    /// The kernel's reason, if it was the kernel that refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Whether the object to be changed does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == Kind::NotFound
    }
}

impl Classify for NetlinkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused { errno, .. } => errno.kind(),
            Self::Socket { source, .. } | Self::Namespace { source } => {
                source.raw_os_error().map_or(Kind::Internal, |errno| Errno(errno).kind())
            }
            Self::Malformed { .. } => Kind::Internal,
        }
    }
}
