//! From an OCI runtime spec to a running process, and the shim that keeps it.
//!
//! Owns: the container's set-up between clone and exec (`init`), the shim process that holds a sandbox's
//! namespaces, logs and exits (`shim`) with its asynchronous client (`client`), an OCI runtime command line
//! (`cli`), one-shot runs for build steps (`once`), the default spec and seccomp profile.
//! Does not own: images, networks, names of groups, restart policies.
//!
//! Invariant: everything a container is given is set up inside its own namespaces before its program runs, by
//! descriptors resolved inside its root; nothing of ours stays open or mounted behind it.

mod cli;
mod client;
mod descriptors;
pub mod devices;
mod hooks;
mod host_mounts;
mod init;
mod launch;
mod once;
mod oom;
mod plan;
mod prepare;
pub mod seccomp;
mod shim;
mod shims_group;
pub mod spec;
mod types;
mod user;
mod wire;

pub use client::{
    AttachInput, AttachIo, AttachOutput, OutputStream, SharedNamespace, Shim, end_bundles, is_running,
};
pub use descriptors::raise_descriptor_limit;
pub use once::{Network, OnceExit, Output, RunOnce, run_once};
pub use plan::SUBPATH_OPTION;
pub use plan::sysctl;
pub use types::{
    ContainerState, ContainerStatus, CreateContainer, ExecIo, ExecStarted, Exit, IdMap, IdRange, LogFile,
    LogFormat, NOBODY, NamespaceMode, Namespaces, Rootfs, SharedMount, ShimConfig, ShimEvent, Stdio,
    SyslogAddress, SyslogFormat, SyslogTarget, TmpfsMount, TtySize,
};

use std::ffi::OsString;
use std::process::ExitCode;

/// The shim process: called first thing in `main` when the first argument is `shim`, with the arguments behind it.
pub fn shim_main(args: Vec<OsString>) -> ! {
    shim::main(&args)
}

/// The OCI runtime command line, with the arguments behind `hako runtime`.
#[must_use]
pub fn cli_main(args: Vec<OsString>) -> ExitCode {
    ExitCode::from(cli::main(args))
}

/// Whether a program started under this name is the OCI runtime: engines take the name of a file, and no words behind
/// it. A link `hako-runtime` to the executable is one.
#[must_use]
pub fn is_runtime_name(name: &std::ffi::OsStr) -> bool {
    let name = std::path::Path::new(name).file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("hako-runtime")
}

/// As [`cli_main`], with the exit code as a number.
#[must_use]
pub fn cli_code(args: Vec<OsString>) -> u8 {
    cli::main(args)
}
