//! The process itself.

use std::path::PathBuf;

use hako_error::Result;
use hako_oci::runtime::{Capabilities, PosixRlimitType, Process};
use hako_sys::{CapabilitySets, capability_bit, known_capabilities};
use serde::{Deserialize, Serialize};

use super::PlanError;
use crate::types::TtySize;

/// What the process is and may do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProcessPlan {
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: PathBuf,
    /// Whether the directory is made when it is not there: a container's is, an exec's is not.
    #[serde(default)]
    pub makes_cwd: bool,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub umask: u32,
    /// bounding, effective, inheritable, permitted, ambient; `None` leaves what the caller has.
    pub capabilities: Option<[u64; 5]>,
    pub no_new_privileges: bool,
    /// (number, soft, hard)
    pub rlimits: Vec<(u32, u64, u64)>,
    pub oom_score_adj: Option<i32>,
    pub tty: bool,
    pub tty_size: Option<TtySize>,
    pub has_seccomp: bool,
    pub seccomp_flags: u32,
    /// Whether it is killed when the process that started it dies.
    #[serde(default)]
    pub dies_with_parent: bool,
    /// Whether a process of ours stays above it.
    #[serde(default)]
    pub init: bool,
    /// Descriptors from 3 on that stay open.
    #[serde(default)]
    pub preserve_fds: u32,
    /// Whether the caller's session keyring stays.
    #[serde(default)]
    pub keeps_keyring: bool,
    /// The AppArmor profile it changes to.
    #[serde(default)]
    pub apparmor: Option<String>,
    #[serde(default)]
    pub schedule: super::schedule::SchedulePlan,
}

impl ProcessPlan {
    pub fn capability_sets(&self) -> Option<CapabilitySets> {
        self.capabilities.map(|[bounding, effective, inheritable, permitted, ambient]| CapabilitySets {
            bounding,
            effective,
            inheritable,
            permitted,
            ambient,
        })
    }
}

pub(crate) fn process_plan(process: &Process, seccomp_flags: u32, has_seccomp: bool) -> Result<ProcessPlan> {
    let args = process.args().clone().unwrap_or_default();
    // An empty one is a program that is not found.
    if args.is_empty() {
        return Err(PlanError::Missing { field: "process.args" }.into());
    }
    if !process.cwd().is_absolute() {
        return Err(PlanError::Bad {
            field: "process.cwd",
            value: process.cwd().display().to_string(),
            expected: "use an absolute path",
        }
        .into());
    }
    let user = process.user();
    let capabilities = process.capabilities().as_ref().map(|sets| {
        [sets.bounding(), sets.effective(), sets.inheritable(), sets.permitted(), sets.ambient()]
            .map(|set| set.as_ref().map_or(0, bits))
    });
    Ok(ProcessPlan {
        args,
        env: process.env().clone().unwrap_or_default(),
        cwd: process.cwd().clone(),
        makes_cwd: false,
        uid: user.uid(),
        gid: user.gid(),
        groups: user.additional_gids().clone().unwrap_or_default(),
        umask: user.umask().unwrap_or(0o022),
        capabilities,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        rlimits: process
            .rlimits()
            .iter()
            .flatten()
            .map(|limit| (rlimit_number(limit.typ()), limit.soft(), limit.hard()))
            .collect(),
        oom_score_adj: process.oom_score_adj(),
        tty: process.terminal().unwrap_or(false),
        tty_size: process.console_size().map(|size| TtySize {
            width: u16::try_from(size.width()).unwrap_or(u16::MAX),
            height: u16::try_from(size.height()).unwrap_or(u16::MAX),
        }),
        has_seccomp,
        seccomp_flags,
        dies_with_parent: false,
        init: false,
        preserve_fds: 0,
        keeps_keyring: false,
        apparmor: apparmor(process)?,
        schedule: super::schedule::plan(process)?,
    })
}

/// The profile, which a kernel without AppArmor cannot honour.
fn apparmor(process: &Process) -> Result<Option<String>> {
    let profile = process.apparmor_profile().clone();
    let Some(profile) = profile.filter(|name| !name.is_empty() && name != "unconfined") else {
        return Ok(None);
    };
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    if !enabled.starts_with('Y') {
        let what = format!("process.apparmorProfile {profile:?} on a kernel without AppArmor");
        return Err(super::not_supported(what, "remove it from the spec"));
    }
    Ok(Some(profile))
}

/// A set of capabilities as bits; names this kernel does not know are dropped as Docker does.
pub(crate) fn bits(set: &Capabilities) -> u64 {
    let names = set.iter().map(|one| one.to_string().to_uppercase());
    names.filter_map(|name| capability_bit(&name)).fold(0, |bits, bit| bits | bit) & known_capabilities()
}

fn rlimit_number(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}
