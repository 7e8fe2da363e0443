//! The root of a container that runs.

use crate::container::ContainerObject;
use crate::core::Core;
use crate::error::io;
use hako_error::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::OwnedFd;

impl Core {
    /// The root of the first process. The number may belong to another process by now: that it does not is asked of
    /// its control group and of its descriptor, after the root was opened.
    pub(super) fn running_root(&self, container: &ContainerObject, pid: u32) -> Result<OwnedFd> {
        let process =
            i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| container.not_running())?;
        let pidfd = pidfd_open(process, PidfdFlags::empty()).map_err(|_| container.not_running())?;
        let path = format!("/proc/{pid}/root");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path.as_str(), flags, Mode::empty())
            .map_err(|error| io("open", path.clone())(error.into()))?;
        let group = self.cgroup(&container.sandbox.id, Some(&container.id));
        let is_ours = self.config.cgroups.open(&group)?.processes()?.contains(&pid);
        if is_ours && lives(&pidfd) { Ok(root) } else { Err(container.not_running().into()) }
    }
}

/// A process that has ended makes its descriptor readable.
fn lives(pidfd: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
}
