//! Watching a group for OOM kills.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;

/// A group's counter of OOM kills, and the descriptor that becomes readable when it may have changed.
#[derive(Debug)]
pub(crate) struct Oom {
    counter: PathBuf,
    pub reported: u64,
}

impl Oom {
    /// Version 1 signals an eventfd registered in `control`; version 2's counter file is watched by inotify.
    pub fn watch(counter: PathBuf, control: Option<PathBuf>) -> io::Result<(Self, OwnedFd)> {
        let signal = match control {
            Some(control) => {
                let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
                let file = fs::File::open(&counter)?;
                let text = format!("{} {}", signal.as_raw_fd(), file.as_raw_fd());
                fs::OpenOptions::new().write(true).open(control)?.write_all(text.as_bytes())?;
                signal
            }
            None => {
                let signal = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
                inotify::add_watch(&signal, &counter, inotify::WatchFlags::MODIFY)?;
                signal
            }
        };
        Ok((Self { counter, reported: 0 }, signal))
    }

    /// Kills so far.
    pub fn kills(&self) -> u64 {
        let text = fs::read_to_string(&self.counter).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    }
}
