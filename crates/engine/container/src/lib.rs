//! Containers, sandboxes, logs, exec and events of one machine as durable objects.
//!
//! Owns: the objects under the engine's data directory, their states, and the order in which snapshot,
//! network, shim and cgroup are made and unmade for them. Does not own: how a process is started
//! (`hako-runtime`), how a file system is made (`hako-snapshot`), how packets move (`hako-network`).
//! Invariant: what a state file says may lag behind the kernel by one step, and the next
//! [`Engine::open`](crate::Engine::open) finishes or undoes that step, so that nothing is ever leaked.

mod adopt;
mod api;
mod attach;
mod base;
mod blkio;
mod changes;
mod container;
mod core;
mod create;
mod engine;
mod error;
mod events;
mod exec;
mod features;
mod files;
mod killed;
mod layers;
mod links;
mod logs;
mod monitor;
mod names;
mod networks;
mod oci;
mod output;
mod owners;
mod parents;
mod pause;
mod populate;
mod record;
mod remap;
mod resolve;
mod sandbox;
mod seccomp;
mod share;
mod spec;
mod start;
mod status;
mod stop;
mod stream;
mod terminal;
mod tree;
mod users;
mod volume;

pub use api::ContainerEngine;
pub use changes::{Change, ChangeKind};
pub use core::EngineConfig;
pub use create::snapshot_key;
pub use engine::{Engine, parse_signal};
pub use features::Feature;
pub use hako_network::{NetworkRequest, NetworkSpec};
pub use hako_runtime::spec::{MASKED_PATHS, READ_ONLY_PATHS};
pub use hako_runtime::{IdMap, IdRange, SyslogFormat};
pub use output::{check_tag, log_attributes};
pub use remap::remap;
pub use seccomp::SeccompProfile;
pub use spec::*;
pub use status::*;
pub use stream::*;
pub use tree::{Extraction, PathStat, Tree};
pub use volume::Volume;

/// The id of a sandbox. Same form as a container's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SandboxId(pub hako_names::ContainerId);

impl SandboxId {
    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The first 12 digits, as people read it.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.short()
    }
}

impl std::fmt::Display for SandboxId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for SandboxId {
    type Err = hako_names::ParseContainerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}
