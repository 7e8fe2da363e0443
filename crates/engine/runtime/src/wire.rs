//! What the engine and a shim say to each other.
//!
//! ```text
//!   frame:  length of body (u32, little endian) | number of descriptors (u32) | body (JSON)
//!           the descriptors travel with the frame's first byte (SCM_RIGHTS)
//!
//!   engine                                   shim
//!     | Configure [net, ipc, uts: those joined]   (first, on the inherited socket)
//!     |        Reply Pid [udp, tcp of DNS] ---- |
//!     | Hello  (first, on connections by path)
//!     |        Reply Hello [udp, tcp of DNS] -- |
//!     | Create [plan] -----------------------> | clone3, init sets up
//!     |                    Reply Pid ---------- |
//!     |                or: Reply Mounted ------ |   (only when there are hooks of the host to run)
//!     | HooksRan ----------------------------> | 'H' to the init, which goes on
//!     |                    Reply Pid ---------- |
//!     | Start -------------------------------> | 'S' to the init, exec closes the status socket
//!     |                    Reply Done --------- |
//!     | Exec [plan (, in, out, err)] --------> |
//!     |                    Reply Pid [master] - |
//!     | Attach [socket] ---------------------> | from now on output goes there:
//!     |                    Reply Tty ---------- |   stream (1|2) | length (u32, little endian) | bytes
//!     |                    Event Exited ------- |   and what comes from there is input
//!     | Delete ------------------------------> |
//! ```
//!
//! Answers carry the number of their request; requests are answered in any order. Events come unasked.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use hako_error::Kind;
use serde::{Deserialize, Serialize};

use crate::types::{ContainerState, ShimConfig, ShimEvent, Stdio, TtySize};

/// The largest body; a request holds paths and ids, plans travel as descriptors.
pub(crate) const MAX_BODY: usize = 1 << 20;

const HEADER: usize = 8;

/// What this shim can do, told by `Hello`; a shim that tells none is 0. Fields that an older shim would ignore are only
/// sent to one that knows them.
///
/// 1: log formats, syslog, init, joined namespaces, DNS sockets.
/// 2: hooks of the host.
/// 3: an empty mount namespace.
pub(crate) const VERSION: u32 = 3;

/// What the engine asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Configure(Box<ShimConfig>),
    Hello,
    Create(Box<Create>),
    /// The hooks of the host have run, for a container whose creation was answered by [`Answer::Mounted`].
    HooksRan {
        id: String,
    },
    Start {
        id: String,
    },
    Kill {
        id: String,
        exec: Option<String>,
        signal: i32,
        all: bool,
    },
    Exec {
        id: String,
        exec: String,
        tty: bool,
    },
    Resize {
        id: String,
        exec: Option<String>,
        size: TtySize,
    },
    Attach {
        id: String,
    },
    Delete {
        id: String,
        force: bool,
    },
    State,
    Shutdown {
        force: bool,
    },
    /// To a one-shot helper: run this plan with these streams to its end.
    Once(Box<Create>),
}

/// What the shim has to know of a container; the rest is in the plan, for the init.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Create {
    pub id: String,
    pub clone: u64,
    pub join_pid: Option<PathBuf>,
    /// The group of version 2 for clone3.
    pub unified: Option<PathBuf>,
    pub cgroup: String,
    /// The file that counts OOM kills, and version 1's file for registering.
    pub oom: Option<(PathBuf, Option<PathBuf>)>,
    pub stdio: Stdio,
    /// Whether the pid namespace to enter is a descriptor behind the plan.
    #[serde(default)]
    pub joins_pid: bool,
    /// Whether an empty mount namespace for the root comes last.
    #[serde(default)]
    pub has_empty: bool,
}

/// A successful answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Hello {
        pid: u32,
        state_dir: PathBuf,
        #[serde(default)]
        version: u32,
    },
    Pid(u32),
    /// Everything is mounted; the init waits until hooks of the host have run.
    Mounted(u32),
    Tty(bool),
    State(Vec<ContainerState>),
    /// The group that is the caller's to remove.
    Group(String),
    /// A one-shot run's end.
    Exit {
        code: i32,
        oom_killed: bool,
    },
}

/// What the shim says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromShim {
    Reply { to: u64, answer: Answer },
    Failed { to: u64, kind: WireKind, message: String },
    Event(ShimEvent),
}

/// A numbered request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ToShim {
    pub number: u64,
    pub request: Request,
}

/// The kinds of error a shim answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WireKind {
    NotFound,
    AlreadyExists,
    Invalid,
    FailedPrecondition,
    Forbidden,
    Internal,
}

impl From<WireKind> for Kind {
    fn from(kind: WireKind) -> Self {
        match kind {
            WireKind::NotFound => Self::NotFound,
            WireKind::AlreadyExists => Self::AlreadyExists,
            WireKind::Invalid => Self::Invalid,
            WireKind::FailedPrecondition => Self::FailedPrecondition,
            WireKind::Forbidden => Self::Forbidden,
            WireKind::Internal => Self::Internal,
        }
    }
}

/// A frame's bytes.
pub(crate) fn frame<T: Serialize>(body: &T, fds: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, body)?;
    let length = u32::try_from(bytes.len() - HEADER).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..HEADER].copy_from_slice(&(fds as u32).to_le_bytes());
    Ok(bytes)
}

/// Sends a frame whole on a blocking socket.
pub(crate) fn send_blocking<T: Serialize>(
    socket: BorrowedFd<'_>,
    body: &T,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = frame(body, fds.len())?;
    let mut sent = hako_sys::send(socket, &bytes, fds)?;
    while sent < bytes.len() {
        sent += hako_sys::send(socket, &bytes[sent..], &[])?;
    }
    Ok(())
}

/// Puts frames together from what arrives.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Assembler {
    /// Takes what a receive call returned.
    pub fn push(&mut self, data: &[u8], fds: Vec<OwnedFd>) {
        self.bytes.extend_from_slice(data);
        self.fds.extend(fds);
    }

    /// The next whole frame; an error when what arrives cannot be one.
    pub fn next<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let word = |at: usize| {
            let bytes = self.bytes.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        let (Some(length), Some(fds)) = (word(0), word(4)) else { return Ok(None) };
        if length > MAX_BODY || fds > hako_sys::MAX_FDS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let end = HEADER + length;
        if self.bytes.len() < end {
            return Ok(None);
        }
        if self.fds.len() < fds {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let body = serde_json::from_slice(&self.bytes[HEADER..end])?;
        self.bytes.drain(..end);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some((body, self.fds.drain(..fds).collect())))
    }

    /// Receives from a blocking socket until a frame is whole; `None` at the end.
    pub fn receive_blocking<T: for<'de> Deserialize<'de>>(
        &mut self,
        socket: &OwnedFd,
    ) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        loop {
            if let Some(frame) = self.next()? {
                return Ok(Some(frame));
            }
            let (mut data, mut fds) = ([0; 16 << 10], Vec::new());
            match hako_sys::receive(socket.as_fd(), &mut data, &mut fds)? {
                0 => return Ok(None),
                count => self.push(&data[..count], fds),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_put_together_from_any_pieces() {
        let bytes = frame(&ToShim { number: 7, request: Request::State }, 0).unwrap();
        let mut assembler = Assembler::default();
        for byte in &bytes[..bytes.len() - 1] {
            assembler.push(&[*byte], Vec::new());
            assert!(assembler.next::<ToShim>().unwrap().is_none());
        }
        assembler.push(&bytes[bytes.len() - 1..], Vec::new());
        assert_eq!(assembler.next::<ToShim>().unwrap().unwrap().0.number, 7);
    }

    /// A shim of the release before: what it says and what it is told must keep their spelling.
    #[test]
    fn what_a_shim_of_version_0_says_and_reads_stays_readable() {
        let hello = br#"{"Reply":{"to":1,"answer":{"Hello":{"pid":7,"state_dir":"/s"}}}}"#;
        let FromShim::Reply { answer: Answer::Hello { version, .. }, .. } =
            serde_json::from_slice(hello).unwrap()
        else {
            panic!()
        };
        assert_eq!(version, 0);
        let log =
            crate::types::LogFile { path: "/l".into(), max_size: 1, max_files: 2, ..Default::default() };
        let stdio = Stdio { log: Some(log), ..Stdio::default() };
        let told = r#"{"stdin":false,"stdin_once":false,"tty":false,"size":null,"log":{"path":"/l","max_size":1,"max_files":2}}"#;
        assert_eq!(serde_json::to_string(&stdio).unwrap(), told);
        assert_eq!(serde_json::from_str::<Stdio>(told).unwrap(), stdio);
        let config = r#"{"exe":"/e","socket":"/s","state_dir":"/d","id":"i","hostname":"h","domainname":"",
            "namespaces":{"net":"New","ipc":"Host","uts":"New"},"sysctls":{},"cgroup":"/g","tmpfs":[],"oom_score_adj":0}"#;
        let config: ShimConfig = serde_json::from_str(config).unwrap();
        assert!(!config.dns && config.user.is_none());
    }

    #[test]
    fn a_frame_beyond_the_bound_is_refused() {
        let mut assembler = Assembler::default();
        assembler.push(&[0xff; 8], Vec::new());
        assert!(assembler.next::<ToShim>().is_err());
    }
}
