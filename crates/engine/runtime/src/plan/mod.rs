//! The plan: a spec boiled down to what a container's init does, in its order.
//!
//! Owns: the plan and its encoding. A plan is made where the spec is validated (the engine or the command line) and
//! carried out by the init, so that the shim between them never parses a spec and stays small.
//! Does not own: carrying it out (`init`).
//! Invariant: a plan holds no question that needs the spec; whatever can be refused was refused when it was made.

mod limits;
mod mounts;
mod namespaces;
mod process;
mod schedule;
pub mod sysctl;
mod unsupported;

use std::path::PathBuf;

use hako_error::{Classify, Error, Kind, Result};
use hako_oci::runtime::{LinuxDeviceType, Spec};
use hako_sys::SeccompInstruction;
use serde::{Deserialize, Serialize};

pub(crate) use limits::{limits, resource_limits};
pub use mounts::SUBPATH_OPTION;
pub(crate) use mounts::{IN_PROC, MountIds, MountPlan, MountPropagation, MountSource, mount_options};
pub(crate) use namespaces::{NamespacePlan, UserPlan, strip_sandbox_namespaces};
pub(crate) use process::{ProcessPlan, bits as capability_bits, process_plan};
pub(crate) use schedule::{SchedulePlan, personality, read};

use crate::hooks::{HookPlan, plans};
use crate::types::{Rootfs, TtySize};

/// What is wrong with a spec.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("spec has no {field}; set it")]
    Missing { field: &'static str },
    #[error("{field} {value:?} is not valid; {expected}")]
    Bad { field: &'static str, value: String, expected: &'static str },
    #[error("sysctl {name} does not belong to a namespace: it would change the host; drop it")]
    HostSysctl { name: String },
    #[error(
        "sysctl {name} needs a {namespace} namespace that is not the host's; make one or drop the sysctl"
    )]
    SharedSysctl { name: String, namespace: &'static str },
    #[error("sysctl {name:?} is not allowed as it conflicts with the OCI {field:?} field")]
    FieldSysctl { name: String, field: &'static str },
    #[error("{target} cannot be mounted: it is inside /proc; choose another place")]
    InsideProc { target: String },
    #[error("{what} is not supported; {remedy}")]
    Unsupported { what: String, remedy: &'static str },
}

impl Classify for PlanError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unsupported { .. } => Kind::Unimplemented,
            _ => Kind::Invalid,
        }
    }
}

/// How the mounts below the container's root spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RootPropagation {
    #[default]
    Slave,
    Private,
    Shared,
    Unbindable,
}

/// A device node to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevicePlan {
    pub path: PathBuf,
    /// 'c', 'b' or 'p'.
    pub kind: char,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// A container from clone to exec.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContainerPlan {
    pub namespaces: NamespacePlan,
    /// Version 1's directories to join; the unified one is joined by clone3.
    pub cgroup_dirs: Vec<PathBuf>,
    pub rootfs: Rootfs,
    /// Whether nobody waits until what is written to an overlay is on disk: it is synced later, or worth nothing.
    #[serde(default)]
    pub is_unsynced: bool,
    /// Where the root is mounted in the container's mount namespace before it becomes `/`.
    pub mountpoint: PathBuf,
    pub read_only_root: bool,
    pub root_propagation: RootPropagation,
    pub mounts: Vec<MountPlan>,
    pub devices: Vec<DevicePlan>,
    pub masked_paths: Vec<PathBuf>,
    pub read_only_paths: Vec<PathBuf>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub sysctls: Vec<(String, String)>,
    pub process: ProcessPlan,
    /// Whether it stops before its root is entered, for hooks of the host.
    #[serde(default)]
    pub waits_for_hooks: bool,
    /// Run before the root is entered, in the container's namespaces.
    #[serde(default)]
    pub create_hooks: Vec<HookPlan>,
    /// Run by the container's user before its program.
    #[serde(default)]
    pub start_hooks: Vec<HookPlan>,
    /// The state hooks are told, but for pid and status.
    #[serde(default)]
    pub hook_state: String,
    /// Whether the root is moved over the old one, for roots that cannot be pivoted from (an initramfs).
    #[serde(default)]
    pub no_pivot: bool,
}

impl ContainerPlan {
    /// Whether its root can be put into a mount namespace where the host never was: nobody looks for it in one, and nothing is
    /// to reach the host from there.
    pub fn leaves_the_host(&self) -> bool {
        let is_overlay = matches!(&self.rootfs, Rootfs::Overlay { lower, .. } if !lower.is_empty());
        let has_hooks = self.waits_for_hooks || !self.create_hooks.is_empty();
        let is_shared = self.root_propagation == RootPropagation::Shared;
        is_overlay && !has_hooks && !is_shared && !self.no_pivot
    }
}

/// Another process in a running container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExecPlan {
    pub cgroup_dirs: Vec<PathBuf>,
    pub process: ProcessPlan,
}

/// What is asked for besides the spec.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub cgroup_dirs: Vec<PathBuf>,
    /// The group's directory in every hierarchy, for a mount of type cgroup: (name below the mount, directory).
    pub cgroup_views: Vec<(String, PathBuf)>,
    pub mountpoint: PathBuf,
    pub tty: bool,
    pub tty_size: Option<TtySize>,
}

/// The plan for a container, and its seccomp program.
pub(crate) fn container_plan(
    spec: &Spec,
    rootfs: Rootfs,
    around: Surroundings,
) -> Result<(ContainerPlan, std::sync::Arc<[SeccompInstruction]>)> {
    let process = spec.process().as_ref().ok_or(PlanError::Missing { field: "process" })?;
    unsupported::check(spec)?;
    let linux = spec.linux().clone().unwrap_or_default();
    let map = namespaces::id_map(linux.uid_mappings().as_deref(), linux.gid_mappings().as_deref());
    let mut namespaces = namespaces::plan(linux.namespaces().as_deref().unwrap_or_default(), map.clone())?;
    namespaces.set_time_offsets(linux.time_offsets().clone().unwrap_or_default())?;
    let sysctls: Vec<_> = linux.sysctl().clone().unwrap_or_default().into_iter().collect();
    sysctls.iter().try_for_each(|(name, _)| sysctl::check(name, namespaces.own()))?;
    let seccomp = match linux.seccomp() {
        Some(profile) => crate::seccomp::program(profile)?,
        None => std::sync::Arc::from([]),
    };
    let mut process = process_plan(process, seccomp_flags(&linux), !seccomp.is_empty())?;
    process.makes_cwd = true;
    process.schedule.personality = linux.personality().as_ref().map(schedule::personality).transpose()?;
    process.tty = around.tty;
    process.tty_size = around.tty_size.or(process.tty_size);
    let plan = ContainerPlan {
        namespaces,
        cgroup_dirs: around.cgroup_dirs,
        rootfs,
        is_unsynced: false,
        mountpoint: around.mountpoint,
        read_only_root: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
        root_propagation: root_propagation(linux.rootfs_propagation().as_deref())?,
        mounts: mounts::plan(
            spec.mounts().as_deref().unwrap_or_default(),
            &around.cgroup_views,
            map.as_ref(),
        )?,
        devices: devices(&linux)?,
        masked_paths: paths(linux.masked_paths().as_deref()),
        read_only_paths: paths(linux.readonly_paths().as_deref()),
        hostname: spec.hostname().clone().filter(|name| !name.is_empty()),
        domainname: spec.domainname().clone().filter(|name| !name.is_empty()),
        sysctls,
        process,
        waits_for_hooks: false,
        create_hooks: plans(spec.hooks().as_ref().and_then(|hooks| hooks.create_container().as_ref())),
        start_hooks: plans(spec.hooks().as_ref().and_then(|hooks| hooks.start_container().as_ref())),
        hook_state: String::new(),
        no_pivot: false,
    };
    Ok((plan, seccomp))
}

fn not_supported(what: impl Into<String>, remedy: &'static str) -> Error {
    PlanError::Unsupported { what: what.into(), remedy }.into()
}

fn paths(texts: Option<&[String]>) -> Vec<PathBuf> {
    texts.unwrap_or_default().iter().map(PathBuf::from).collect()
}

fn seccomp_flags(linux: &hako_oci::runtime::Linux) -> u32 {
    use hako_oci::runtime::LinuxSeccompFilterFlag as Flag;
    let flags = linux.seccomp().as_ref().and_then(|profile| profile.flags().clone()).unwrap_or_default();
    flags.iter().fold(0, |bits, flag| {
        bits | match flag {
            Flag::SeccompFilterFlagLog => 2,
            Flag::SeccompFilterFlagSpecAllow => 4,
            _ => 0,
        }
    })
}

fn root_propagation(name: Option<&str>) -> Result<RootPropagation> {
    Ok(match name.unwrap_or_default() {
        "" | "slave" | "rslave" => RootPropagation::Slave,
        "private" | "rprivate" => RootPropagation::Private,
        "shared" | "rshared" => RootPropagation::Shared,
        "unbindable" | "runbindable" => RootPropagation::Unbindable,
        other => {
            return Err(PlanError::Bad {
                field: "linux.rootfsPropagation",
                value: other.to_owned(),
                expected: "use private, slave, shared or unbindable",
            }
            .into());
        }
    })
}

/// The devices every container has, then the spec's own.
fn devices(linux: &hako_oci::runtime::Linux) -> Result<Vec<DevicePlan>> {
    let default = |name: &str, major, minor| DevicePlan {
        path: PathBuf::from("/dev").join(name),
        kind: 'c',
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    };
    let mut devices = vec![
        default("null", 1, 3),
        default("zero", 1, 5),
        default("full", 1, 7),
        default("random", 1, 8),
        default("urandom", 1, 9),
        default("tty", 5, 0),
    ];
    for device in linux.devices().iter().flatten() {
        let kind = match device.typ() {
            LinuxDeviceType::B => 'b',
            LinuxDeviceType::C | LinuxDeviceType::U => 'c',
            LinuxDeviceType::P => 'p',
            LinuxDeviceType::A => {
                return Err(PlanError::Bad {
                    field: "linux.devices.type",
                    value: "a".to_owned(),
                    expected: "use b, c, u or p",
                }
                .into());
            }
        };
        devices.retain(|known| known.path != *device.path());
        devices.push(DevicePlan {
            path: device.path().clone(),
            kind,
            major: u32::try_from(device.major()).unwrap_or(0),
            minor: u32::try_from(device.minor()).unwrap_or(0),
            mode: device.file_mode().unwrap_or(0o666) & 0o7777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
        });
    }
    Ok(devices)
}

/// A plan and its seccomp program as bytes: `length of JSON (4, little endian) | JSON | instructions (8 each)`.
pub(crate) fn encode<T: Serialize>(plan: &T, seccomp: &[SeccompInstruction]) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(plan)
        .map_err(|error| Error::new(Kind::Internal, "cannot encode a plan").with_source(error))?;
    let mut bytes = Vec::with_capacity(4 + json.len() + 8 * seccomp.len());
    bytes.extend((json.len() as u32).to_le_bytes());
    bytes.extend(json);
    for one in seccomp {
        bytes.extend(one.code.to_le_bytes());
        bytes.extend([one.jump_true, one.jump_false]);
        bytes.extend(one.k.to_le_bytes());
    }
    Ok(bytes)
}

/// Undoes [`encode`]; `None` when the bytes are no plan.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<(T, Vec<SeccompInstruction>)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (json, code) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let instructions = code.as_chunks::<8>().0.iter().map(|chunk| SeccompInstruction {
        code: u16::from_le_bytes([chunk[0], chunk[1]]),
        jump_true: chunk[2],
        jump_false: chunk[3],
        k: u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]),
    });
    Some((serde_json::from_slice(json).ok()?, instructions.collect()))
}
