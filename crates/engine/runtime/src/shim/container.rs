//! What the shim knows of a container.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::log::Log;
use crate::oom::Oom;
use crate::types::{ContainerState, ContainerStatus, Exit};

/// A request that is answered later: connection and number.
pub(super) type Waiting = Option<(u64, u64)>;

/// Bytes of input kept for a container that does not read, beyond which clients are held back.
pub(super) const MAX_INPUT: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Container {
    pub id: String,
    pub pid: u32,
    pub pidfd: OwnedFd,
    pub status: ContainerStatus,
    pub exit: Option<Exit>,
    /// The init's socket, until it became its program.
    pub init: Option<OwnedFd>,
    pub creating: Waiting,
    pub starting: Waiting,
    /// Whether its init waits until hooks of the host have run.
    pub awaits_hooks: bool,
    pub cgroup: String,
    pub unified: Option<PathBuf>,
    pub oom: Option<Oom>,
    pub log: Log,
    /// Where input goes: a pipe or the terminal's master.
    pub input: Option<OwnedFd>,
    pub input_waiting: Vec<u8>,
    pub input_token: Option<u64>,
    pub input_ends: bool,
    pub stdin_once: bool,
    pub tty: bool,
    /// A second handle of the terminal's master, for its size.
    pub terminal: Option<OwnedFd>,
    /// Tokens of the streams output comes from.
    pub outputs: Vec<u64>,
    pub execs: BTreeMap<String, Exec>,
}

/// Another process in a container.
#[derive(Debug)]
pub(super) struct Exec {
    pub pid: u32,
    pub init: Option<OwnedFd>,
    pub starting: Waiting,
    /// Whether it was set up: what ends it from here on is its program's end.
    pub is_ready: bool,
    pub terminal: Option<OwnedFd>,
}

impl Container {
    pub fn state(&self) -> ContainerState {
        ContainerState {
            id: self.id.clone(),
            pid: self.pid,
            status: self.status,
            exit: self.exit.clone(),
            log_lines_dropped: self.log.dropped(),
        }
    }

    /// Whether its first process is there to be signalled.
    pub fn is_alive(&self) -> bool {
        self.status != ContainerStatus::Stopped
    }
}
