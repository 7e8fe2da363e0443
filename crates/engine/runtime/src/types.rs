//! The words the engine and the runtime share.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use hako_oci::runtime::Spec;
use serde::{Deserialize, Serialize};

/// Whose namespace of a kind a sandbox is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// A new one, held by the shim.
    #[default]
    New,
    /// The host's.
    Host,
    /// Another sandbox's, handed over as a descriptor when the shim is started.
    Join,
}

/// The namespaces all containers of a sandbox share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Network.
    pub net: NamespaceMode,
    /// System V IPC and POSIX message queues.
    pub ipc: NamespaceMode,
    /// Host and domain name.
    pub uts: NamespaceMode,
    /// Whether containers share one pid namespace, whose first process is the shim's and reaps what is orphaned.
    /// A container gets it when its spec names no pid namespace.
    #[serde(default)]
    pub shared_pid: bool,
}

/// A tmpfs mounted in the shim's mount namespace, seen at its path by bind mounts of the sandbox's containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TmpfsMount {
    /// Where; created when missing.
    pub path: PathBuf,
    /// Its size; `None` is the kernel's default, half of memory.
    pub size_bytes: Option<u64>,
    /// The mode of its root directory, such as `0o1777`.
    pub mode: u32,
}

/// A mount of another sandbox's shim that is to be seen in this one's too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedMount {
    /// Where the other has it.
    pub from: PathBuf,
    /// Where it appears; created when missing.
    pub to: PathBuf,
}

/// One range of a user namespace's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first id inside.
    pub inside: u32,
    /// The id of the host it means.
    pub outside: u32,
    /// How many follow.
    pub count: u32,
}

/// A user namespace's ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// Users.
    pub uids: Vec<IdRange>,
    /// Groups.
    pub gids: Vec<IdRange>,
}

/// What a new shim is told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ShimConfig {
    /// The executable to start with the arguments `shim …`; `/proc/self/exe` for the running one.
    pub exe: PathBuf,
    /// The unix socket the shim listens on.
    pub socket: PathBuf,
    /// The directory for exit records; created when missing.
    pub state_dir: PathBuf,
    /// The sandbox's id.
    pub id: String,
    /// The host name inside, when uts is new; empty leaves it.
    pub hostname: String,
    /// The domain name inside, when uts is new; empty leaves it.
    pub domainname: String,
    /// Which namespaces are new.
    pub namespaces: Namespaces,
    /// Kernel parameters set in the new namespaces, such as `net.ipv4.ip_unprivileged_port_start`.
    pub sysctls: BTreeMap<String, String>,
    /// The sandbox's group inside every hierarchy, such as `/hako-1a2b3c/<sandbox>`; created when missing.
    pub cgroup: String,
    /// Sandbox-wide tmpfs mounts.
    pub tmpfs: Vec<TmpfsMount>,
    /// Mounts of the sandbox whose mount namespace is handed over last (see [`crate::SharedNamespace::Mount`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<SharedMount>,
    /// The shim's own score for the OOM killer (best effort: lowering needs CAP_SYS_RESOURCE).
    pub oom_score_adj: i32,
    /// Whether the shim keeps a UDP and a TCP socket on 127.0.0.11 of the sandbox's own network namespace, for the
    /// engine to answer names at (see [`crate::Shim::dns_sockets`]).
    #[serde(default)]
    pub dns: bool,
    /// The ids of a user namespace for the sandbox's containers; `None` is the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<IdMap>,
    /// Whether that is another sandbox's, handed over before all other namespaces (see [`Self::user`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joins_user: bool,
    /// Whether the place to write [`Self::sysctls`] at is handed over behind all namespaces; else that is the host's /proc.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_parameters: bool,
}

impl IdMap {
    /// The host's ids of user and group 0 inside.
    #[must_use]
    pub fn root(&self) -> (u32, u32) {
        (to_host(&self.uids, 0).unwrap_or(0), to_host(&self.gids, 0).unwrap_or(0))
    }

    /// The host's ids of a user and a group inside; `None` where one means nobody.
    #[must_use]
    pub fn to_host(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        Some((to_host(&self.uids, uid)?, to_host(&self.gids, gid)?))
    }

    /// The ids inside of a user and a group of the host; who is nobody inside is [`NOBODY`].
    #[must_use]
    pub fn to_inside(&self, uid: u32, gid: u32) -> (u32, u32) {
        (to_inside(&self.uids, uid), to_inside(&self.gids, gid))
    }
}

/// Whom a user namespace shows where it has no id.
pub const NOBODY: u32 = 65534;

fn to_host(ranges: &[IdRange], id: u32) -> Option<u32> {
    let range = ranges.iter().find(|range| id >= range.inside && id - range.inside < range.count)?;
    range.outside.checked_add(id - range.inside)
}

fn to_inside(ranges: &[IdRange], id: u32) -> u32 {
    let range = ranges.iter().find(|range| id >= range.outside && id - range.outside < range.count);
    range.and_then(|range| range.inside.checked_add(id - range.outside)).unwrap_or(NOBODY)
}

/// Where a container's root comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rootfs {
    /// A directory, bound.
    Bind(PathBuf),
    /// An overlay, mounted inside the container's mount namespace only.
    Overlay {
        /// The layers, topmost first.
        lower: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// The overlay's work directory, on the file system of `upper`.
        work: PathBuf,
    },
}

/// How lines stand in a log file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// `<time> <stream> <F|P> <text>`, as the CRI has it.
    #[default]
    Cri,
    /// `{"log":"…\n","stream":"stdout","time":"…"}`, as Docker's json-file has it.
    Json,
}

impl LogFormat {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_cri(&self) -> bool {
        *self == Self::Cri
    }
}

/// A log file, rotated by size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// The current file; older ones get `.1`, `.2`, … behind their name.
    pub path: PathBuf,
    /// Bytes after which it is rotated.
    pub max_size: u64,
    /// Files kept, the current one included; at least 1.
    pub max_files: u32,
    /// The form of its lines.
    #[serde(default, skip_serializing_if = "LogFormat::is_cri")]
    pub format: LogFormat,
    /// Whether older files are compressed: they get `.1.gz`, `.2.gz`, … behind their name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compress: bool,
    /// What every line of [`LogFormat::Json`] says besides, such as labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attrs: BTreeMap<String, String>,
}

/// Where a log daemon listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyslogAddress {
    /// A datagram socket of this machine, such as /dev/log.
    Datagram(PathBuf),
    /// A stream socket of this machine.
    Stream(PathBuf),
    /// UDP.
    Udp(SocketAddr),
    /// TCP.
    Tcp(SocketAddr),
}

/// The form of messages to a log daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyslogFormat {
    /// `<priority>month day time tag[pid]: text`: for daemons of the same machine.
    #[default]
    Local,
    /// RFC 3164: `<priority>month day time host tag[pid]: text`.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
    /// RFC 5424 with microseconds.
    Rfc5424Micro,
}

/// A log daemon that output goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyslogTarget {
    /// Where it listens.
    pub address: SyslogAddress,
    /// The form of its messages.
    pub format: SyslogFormat,
    /// The facility's number, such as 3 for `daemon`.
    pub facility: u8,
    /// Who speaks.
    pub tag: String,
    /// This machine's name.
    pub hostname: String,
}

/// A container's standard streams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// Whether stdin can be attached to; otherwise it is /dev/null.
    pub stdin: bool,
    /// Whether stdin ends when the first attached client ends its input.
    #[serde(default)]
    pub stdin_once: bool,
    /// Whether the container gets a terminal.
    pub tty: bool,
    /// The first size of the terminal.
    #[serde(default)]
    pub size: Option<TtySize>,
    /// The file output is logged to.
    pub log: Option<LogFile>,
    /// The daemon output is logged to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SyslogTarget>,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TtySize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A container to create in a sandbox.
#[derive(Clone, Debug)]
pub struct CreateContainer {
    /// Its id, unique in the sandbox.
    pub id: String,
    /// What to run and how. Network, ipc and uts namespaces without a path mean the sandbox's.
    pub spec: Spec,
    /// Its root.
    pub rootfs: Rootfs,
    /// Its group inside every hierarchy, usually below the sandbox's; created when missing, limited as the spec's
    /// `linux.resources` say.
    pub cgroup: String,
    /// Its streams.
    pub stdio: Stdio,
    /// Whether its first process is ours: one that starts the program, passes signals on to it and takes orphans.
    pub init: bool,
    /// The pid namespace it enters, of another container; its spec names none then.
    pub pid_namespace: Option<Arc<OwnedFd>>,
}

/// The streams of an exec'd process.
#[derive(Debug)]
pub enum ExecIo {
    /// stdin, stdout, stderr, handed over as they are.
    Fds([OwnedFd; 3]),
    /// A terminal of the container; its master comes back.
    Tty {
        /// Its first size.
        size: TtySize,
    },
}

/// An exec'd process.
#[derive(Debug)]
pub struct ExecStarted {
    /// Names it in events, kills and resizes.
    pub exec_id: String,
    /// Its pid as the host sees it.
    pub pid: u32,
    /// The terminal's master, for [`ExecIo::Tty`].
    pub tty_master: Option<OwnedFd>,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    /// Set up and waiting for `start`.
    Created,
    /// Running its program.
    Running,
    /// Its first process has exited.
    Stopped,
}

/// How a process ended. The same record is kept as a file `<state_dir>/<id>.exit` (JSON).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, or 128 + signal.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the OOM killer killed in the container's group.
    pub oom_killed: bool,
    /// When.
    pub at: jiff::Timestamp,
}

/// A container as its shim knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Its id.
    pub id: String,
    /// The pid of its first process as the host sees it; of the past when stopped.
    pub pid: u32,
    /// Where it is in its life.
    pub status: ContainerStatus,
    /// How it ended.
    pub exit: Option<Exit>,
    /// Log lines lost because the log could not be written.
    #[serde(default)]
    pub log_lines_dropped: u64,
}

/// What a shim reports by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShimEvent {
    /// A container's first process, or an exec'd one, ended.
    Exited {
        /// The container.
        id: String,
        /// The exec'd process, or the container itself when `None`.
        exec: Option<String>,
        /// The exit code, or 128 + signal.
        code: i32,
        /// The signal that ended it.
        signal: Option<i32>,
        /// Whether the OOM killer killed in the container's group.
        oom_killed: bool,
        /// When.
        at: jiff::Timestamp,
    },
    /// The OOM killer killed in the container's group; the first process may live on.
    Oom {
        /// The container.
        id: String,
        /// Kills since the container was created.
        kills: u64,
    },
    /// The connection to the shim ended: it died or was shut down.
    Gone,
}
