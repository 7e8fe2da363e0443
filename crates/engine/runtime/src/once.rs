//! One-shot runs for build steps.

use std::path::PathBuf;

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::Spec;

use crate::client::OutputStream;
use crate::types::Rootfs;

/// Which network a one-shot run is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The caller's.
    Host,
    /// A new one with nothing but a loopback that is down.
    None,
    /// The one at this path, such as `/proc/1/ns/net`.
    Path(PathBuf),
}

/// Receives output as it comes, on a blocking thread.
pub type Output = Box<dyn FnMut(OutputStream, &[u8]) + Send>;

/// A process to run to its end.
pub struct RunOnce {
    /// What to run; `process.args`, `env`, `cwd`, `user` come from here.
    pub spec: Spec,
    /// Its root.
    pub rootfs: Rootfs,
    /// Its group inside every hierarchy; created, and removed afterwards.
    pub cgroup: String,
    /// Its network.
    pub network: Network,
    /// Receives stdout and stderr.
    pub output: Output,
}

impl std::fmt::Debug for RunOnce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOnce")
            .field("rootfs", &self.rootfs)
            .finish_non_exhaustive()
    }
}

/// How a one-shot run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnceExit {
    /// The exit code, or 128 + signal.
    pub code: i32,
    /// Whether the OOM killer killed in its group.
    pub oom_killed: bool,
}

/// Runs a process to its end; blocking. It dies with the caller's process. Call it by `spawn_blocking`.
pub fn run_once(_run: RunOnce) -> Result<OnceExit> {
    Err(Error::new(Kind::Unimplemented, "run_once is not built yet"))
}
