//! What is: sandboxes, containers, exits, events.

use crate::{ContainerSpec, EndpointSpec, PortMapping, SandboxId, SandboxSpec};
use hako_names::ContainerId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

/// A sandbox as it is at one moment.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// What was asked for; who was taken off no network at all has endpoints.
    pub spec: Arc<SandboxSpec>,
    /// Whether it holds namespaces.
    pub state: SandboxState,
    /// Its address, with the bridge network and while ready.
    pub ip: Option<Ipv4Addr>,
    /// The networks that people made and it is to be connected to.
    pub places: Vec<Place>,
    /// The host's ports that lead into it, as granted.
    pub ports: Vec<PortMapping>,
    /// Process id of the shim while ready.
    pub shim_pid: Option<u32>,
    /// Path of the network namespace while ready, as /proc/PID/ns/net.
    pub netns: Option<PathBuf>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it belongs to one standalone container.
    pub standalone: bool,
}

/// A sandbox's place in a network, wanted or taken.
#[derive(Clone, Debug)]
pub struct Place {
    /// What was asked for.
    pub spec: EndpointSpec,
    /// The network's id; empty when there is no such network.
    pub network_id: String,
    /// What it has of it while it is up.
    pub endpoint: Option<hako_network::Endpoint>,
}

/// Whether a sandbox holds namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxState {
    /// Its shim lives; containers can be started.
    Ready,
    /// Nothing lives in it.
    NotReady,
}

/// A container as it is at one moment.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// The sandbox it is in.
    pub sandbox: SandboxId,
    /// Whether it has the sandbox for itself.
    pub standalone: bool,
    /// What was asked for.
    pub spec: Arc<ContainerSpec>,
    /// What the image and the request together came to.
    pub resolved: Arc<Resolved>,
    /// Where it is in its life.
    pub state: ContainerState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Times the engine started it again since a caller started it.
    pub restart_count: u32,
    /// When its last run that is over ended.
    pub ended_at: Option<Timestamp>,
    /// Whether the engine will start it again after a back-off.
    pub restarting: bool,
    /// Whether its processes stand still; it is running all the same.
    pub paused: bool,
    /// The log file that is written now, if there is one.
    pub log_path: Option<PathBuf>,
}

/// What the image and the request together came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The image's id, `sha256:…`.
    pub image_id: String,
    /// The image's manifest digest, `sha256:…`.
    pub image_digest: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The entrypoint's part of `argv`.
    pub entrypoint: Vec<String>,
    /// The command's part of `argv`.
    pub cmd: Vec<String>,
    /// All of `NAME=value`.
    pub env: Vec<String>,
    /// Absolute; nothing is the root.
    pub working_dir: String,
    /// As written by the request or the image.
    pub user: String,
    /// The signal that asks it to end.
    pub stop_signal: i32,
    /// The image's and the request's labels, the latter on top.
    pub labels: BTreeMap<String, String>,
    /// Ports that the image says it listens on, such as `80/tcp`.
    pub exposed_ports: Vec<String>,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "status")]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Its first process lives.
    Running {
        /// Process id on the host.
        pid: u32,
        /// Since when.
        started_at: Timestamp,
    },
    /// Its first process has ended, or could not be started.
    Exited(Exit),
}

impl ContainerState {
    /// Whether the first process lives.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// The exit, when it has one.
    #[must_use]
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Exited(exit) => Some(exit),
            _ => None,
        }
    }
}

/// How a first process ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, 128 + signal when killed by one, 126 or 127 when it could not be executed.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Whether the kernel killed it for lack of memory.
    pub oom_killed: bool,
    /// Why it could not be started, or what is known of an exit that nobody saw.
    pub error: Option<String>,
    /// When it was started; `None` when it never ran.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Until when [`wait`](crate::ContainerEngine::wait) waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// The container does not run: returns at once for a created or exited one.
    #[default]
    NotRunning,
    /// The next exit from now on.
    NextExit,
    /// The container is gone.
    Removed,
}

/// Which containers or sandboxes to list; empty fields match all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// All of these labels. An empty value matches any value.
    pub labels: BTreeMap<String, String>,
    /// In this sandbox.
    pub sandbox: Option<SandboxId>,
    /// Standalone ones only, or none of them.
    pub standalone: Option<bool>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// To what.
    pub subject: Subject,
    /// What.
    pub action: Action,
    /// The container's name, or the sandbox's.
    pub name: String,
    /// The container's image as the caller wrote it; empty for a sandbox.
    pub image: String,
    /// The labels of the container or sandbox.
    pub labels: BTreeMap<String, String>,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A container in a sandbox.
    Container {
        /// Its id.
        id: ContainerId,
        /// Where it is.
        sandbox: SandboxId,
    },
    /// A sandbox.
    Sandbox(SandboxId),
    /// A network, by its id; its driver is the label `type`.
    Network(String),
    /// A volume, by its name.
    Volume(String),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was made.
    Create,
    /// A client connected to its streams.
    Attach,
    /// Its first process started; for a sandbox, it became ready.
    Start,
    /// The caller asked it to end.
    Kill {
        /// The signal sent.
        signal: i32,
    },
    /// The kernel killed a process in it for lack of memory.
    Oom,
    /// Its first process ended.
    Die {
        /// Exit code as in [`Exit::code`].
        code: i32,
    },
    /// The caller's stop is done; for a sandbox, it is not ready any more.
    Stop,
    /// Its name changed.
    Rename {
        /// What it was called before.
        old: String,
    },
    /// Its limits changed.
    Update,
    /// Its processes stand still from now on.
    Pause,
    /// Its processes go on.
    Unpause,
    /// It is gone.
    Destroy,
    /// A container was connected to it.
    Connect {
        /// Which.
        container: ContainerId,
    },
    /// A container was taken off it.
    Disconnect {
        /// Which.
        container: ContainerId,
    },
    /// A container that starts has this volume.
    Mount {
        /// Which container.
        container: ContainerId,
        /// Where in it.
        target: std::path::PathBuf,
        /// Whether it may write there.
        writable: bool,
    },
    /// A container that had this volume has ended.
    Unmount {
        /// Which container.
        container: ContainerId,
    },
    /// An exec started.
    ExecStart {
        /// The exec's id.
        exec: String,
    },
    /// An exec ended.
    ExecDie {
        /// The exec's id.
        exec: String,
        /// Its exit code.
        code: i32,
    },
}

/// What is known of an exec.
#[derive(Clone, Debug)]
pub struct ExecInfo {
    /// Its id.
    pub id: String,
    /// Process id on the host.
    pub pid: u32,
    /// `None` while it runs.
    pub code: Option<i32>,
}

/// What a container uses.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// When it was read.
    pub at: Timestamp,
    /// Bytes of memory.
    pub memory_usage: u64,
    /// Bytes of memory that cannot be reclaimed.
    pub memory_working_set: u64,
    /// Bound of the memory.
    pub memory_limit: Option<u64>,
    /// Processor time since its start in nanoseconds.
    pub cpu_ns: u64,
    /// Processes and threads.
    pub pids: u64,
    /// All that the container's group counts.
    pub group: hako_cgroup::Stats,
}
