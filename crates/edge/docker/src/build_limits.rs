//! Limits of a classic build's RUN steps, with the checks that a container's limits have.

use crate::api::ApiVersion;
use crate::container::create::{resources, settle};
use crate::container::host::{HostConfig, Ulimit};
use crate::error::{Failure, invalid};
use crate::params::Params;
use hako_build::{RunLimits, rlimit};
use hako_container::{Feature, Resources};
use hako_oci::runtime::{LinuxCpu, LinuxMemory};

/// Reads them; what this kernel has not is refused, for a build has no place for a warning.
pub(crate) fn limits(
    params: &Params,
    version: ApiVersion,
    has: impl Fn(Feature) -> bool,
) -> Result<RunLimits, Failure> {
    let mut host = HostConfig {
        memory: params.number("memory")?.unwrap_or(0),
        memory_swap: params.number("memswap")?.unwrap_or(0),
        cpu_shares: params.number("cpushares")?.unwrap_or(0),
        cpu_period: params.number("cpuperiod")?.unwrap_or(0),
        cpu_quota: params.number("cpuquota")?.unwrap_or(0),
        cpuset_cpus: params.get("cpusetcpus").unwrap_or_default().to_owned(),
        cpuset_mems: params.get("cpusetmems").unwrap_or_default().to_owned(),
        ..HostConfig::default()
    };
    if let Some(lack) = settle(has, &mut host, version)?.first() {
        return Err(invalid(lack.clone()));
    }
    let wanted = resources(&host, true)?;
    Ok(RunLimits {
        memory: memory(&wanted),
        cpu: cpu(&wanted),
        rlimits: ulimits(params)?,
        shm_bytes: params.number("shmsize")?.filter(|bytes| *bytes > 0),
    })
}

fn memory(wanted: &Resources) -> Option<LinuxMemory> {
    let mut memory = LinuxMemory::default();
    memory.set_limit(wanted.memory.and_then(|bytes| i64::try_from(bytes).ok())).set_swap(wanted.memory_swap);
    (wanted.memory.is_some() || wanted.memory_swap.is_some()).then_some(memory)
}

fn cpu(wanted: &Resources) -> Option<LinuxCpu> {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(wanted.cpu_shares)
        .set_period(wanted.cpu_period_us)
        .set_quota(wanted.cpu_quota_us)
        .set_cpus(wanted.cpuset_cpus.clone())
        .set_mems(wanted.cpuset_mems.clone());
    (cpu != LinuxCpu::default()).then_some(cpu)
}

/// A JSON list; -1 is unlimited.
fn ulimits(params: &Params) -> Result<Vec<hako_oci::runtime::PosixRlimit>, Failure> {
    let text = params.get("ulimits").unwrap_or("null");
    let wanted: Option<Vec<Ulimit>> =
        serde_json::from_str(text).map_err(|_| invalid(format!("ulimits {text:?} is no list of limits")))?;
    let number = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    let one = |limit: &Ulimit| Ok(rlimit(&limit.name, number(limit.soft), number(limit.hard))?);
    wanted.iter().flatten().map(one).collect()
}
