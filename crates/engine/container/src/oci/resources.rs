//! Limits as the OCI runtime spec writes them.

use crate::Resources;
use hako_oci::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources};

pub(super) fn fill_resources(limits: &mut LinuxResources, resources: &Resources) {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    if resources.memory.is_some() || resources.memory_swap.is_some() {
        let mut memory = LinuxMemoryBuilder::default();
        if let Some(bytes) = resources.memory {
            memory = memory.limit(signed(bytes));
        }
        if let Some(bytes) = resources.memory_swap {
            memory = memory.swap(bytes);
        }
        limits.set_memory(memory.build().ok());
    }
    let mut cpu = LinuxCpuBuilder::default();
    if let Some(quota) = resources.cpu_quota_us {
        cpu = cpu.quota(quota);
    }
    if let Some(period) = resources.cpu_period_us {
        cpu = cpu.period(period);
    }
    if let Some(shares) = resources.cpu_shares {
        cpu = cpu.shares(shares);
    }
    if let Some(cpus) = &resources.cpuset_cpus {
        cpu = cpu.cpus(cpus.clone());
    }
    if let Some(mems) = &resources.cpuset_mems {
        cpu = cpu.mems(mems.clone());
    }
    limits.set_cpu(cpu.build().ok());
    if let Some(pids) = resources.pids {
        limits.set_pids(LinuxPidsBuilder::default().limit(pids).build().ok());
    }
}
