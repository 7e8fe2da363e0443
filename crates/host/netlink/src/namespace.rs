//! Doing something inside another network namespace.

use crate::error::NetlinkError;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::BorrowedFd;

/// Runs `work` inside the network namespace `fd` refers to, on a short-lived thread, so that no thread of the
/// caller ever changes its namespace. Sockets that `work` opens stay in that namespace.
///
/// # Errors
/// `Namespace` if it cannot be entered.
///
/// # Panics
/// If `work` does.
pub fn in_namespace<T: Send>(fd: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, NetlinkError> {
    let enter = || {
        move_into_link_name_space(fd, Some(LinkNameSpaceType::Network))
            .map_err(|errno| NetlinkError::Namespace { source: errno.into() })?;
        Ok(work())
    };
    std::thread::scope(|scope| match scope.spawn(enter).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
