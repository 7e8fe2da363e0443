//! From a container's specification to the OCI runtime spec its shim is given.

mod devices;
mod linux;
mod mounts;
mod process;
mod propagation;
mod resources;

pub(crate) use process::exec_process;

use crate::error::EngineError;
use crate::users::Identity;
use crate::volume::VolumeSource;
use crate::{ContainerSpec, Resolved, Resources};
use hako_oci::runtime::Spec;
use linux::fill_linux;
use mounts::mounts;
use process::fill_process;
use std::path::PathBuf;

/// What the sandbox and the engine add to a container's own specification.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// Host path and container path of the sandbox's files.
    pub(crate) files: [(PathBuf, &'static str); 3],
    /// What is at /dev/shm.
    pub(crate) shm: Shm,
    /// Size of /dev/shm, where it is the container's own.
    pub(crate) shm_size: Option<u64>,
    /// The sandbox's host name.
    pub(crate) hostname: String,
    /// Whether processes of the host are visible.
    pub(crate) is_pid_shared: bool,
    /// Whether a user namespace of its own is in the host's IPC namespace.
    pub(crate) has_hosts_ipc: bool,
    /// What the volume of this name is.
    pub(crate) volumes: Vec<(String, VolumeSource)>,
    /// The layers of the images that are mounted, topmost first, by the mount's place in the list.
    pub(crate) images: Vec<(usize, Vec<PathBuf>)>,
}

/// What a container has at /dev/shm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shm {
    /// Memory of its own.
    Own,
    /// The directory of that place.
    Bound(PathBuf),
    /// Nothing.
    Absent,
}

/// The whole spec.
pub(crate) fn runtime_spec(
    base: Spec,
    spec: &ContainerSpec,
    resolved: &Resolved,
    identity: &Identity,
    resources: &Resources,
    around: &Surroundings,
) -> Result<Spec, EngineError> {
    let mut oci = base;
    let mut process = oci.process().clone().unwrap_or_default();
    fill_process(&mut process, spec, resolved, identity, around)?;
    let mut root = oci.root().clone().unwrap_or_default();
    root.set_readonly(Some(spec.read_only_rootfs));
    let mut linux = oci.linux().clone().unwrap_or_default();
    fill_linux(&mut linux, spec, &process, resources, around)?;
    let mounts = mounts(oci.mounts().clone().unwrap_or_default(), spec, around)?;
    oci.set_process(Some(process)).set_root(Some(root)).set_linux(Some(linux)).set_mounts(Some(mounts));
    Ok(oci)
}
