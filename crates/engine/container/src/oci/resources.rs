//! Limits as the OCI runtime spec writes them.

use crate::Resources;
use crate::blkio::resolved;
use crate::error::EngineError;
use hako_oci::runtime::{
    LinuxBlockIo, LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources,
    LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder,
};

pub(super) fn fill_resources(limits: &mut LinuxResources, resources: &Resources) -> Result<(), EngineError> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let asks_for_memory = resources.memory.is_some()
        || resources.memory_swap.is_some()
        || resources.memory_reservation.is_some()
        || resources.memory_swappiness.is_some()
        || resources.oom_kill_disable.is_some()
        || resources.kernel_memory_tcp.is_some();
    if asks_for_memory {
        let mut memory = LinuxMemoryBuilder::default();
        if let Some(bytes) = resources.memory_reservation {
            memory = memory.reservation(signed(bytes));
        }
        if let Some(eagerness) = resources.memory_swappiness {
            memory = memory.swappiness(eagerness);
        }
        if let Some(is_disabled) = resources.oom_kill_disable {
            memory = memory.disable_oom_killer(is_disabled);
        }
        if let Some(bytes) = resources.kernel_memory_tcp {
            memory = memory.kernel_tcp(signed(bytes));
        }
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
    if let Some(period) = resources.cpu_realtime_period_us {
        cpu = cpu.realtime_period(period);
    }
    if let Some(runtime) = resources.cpu_realtime_runtime_us {
        cpu = cpu.realtime_runtime(runtime);
    }
    limits.set_cpu(cpu.build().ok());
    if let Some(pids) = resources.pids {
        limits.set_pids(LinuxPidsBuilder::default().limit(pids).build().ok());
    }
    fill_block(limits, resources)
}

fn fill_block(limits: &mut LinuxResources, resources: &Resources) -> Result<(), EngineError> {
    let lists = [
        &resources.blkio_weight_device,
        &resources.blkio_read_bps,
        &resources.blkio_write_bps,
        &resources.blkio_read_iops,
        &resources.blkio_write_iops,
    ];
    if resources.blkio_weight.is_none() && lists.iter().all(|list| list.is_empty()) {
        return Ok(());
    }
    let mut block = LinuxBlockIo::default();
    block.set_weight(resources.blkio_weight);
    let weights =
        resolved(&resources.blkio_weight_device)?.into_iter().filter_map(|((major, minor), weight)| {
            let built = LinuxWeightDeviceBuilder::default().major(major).minor(minor);
            built.weight(u16::try_from(weight).ok()?).build().ok()
        });
    block.set_weight_device(Some(weights.collect()));
    let rates = |list| -> Result<_, EngineError> {
        let rates = resolved(list)?.into_iter().filter_map(|((major, minor), rate)| {
            LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(rate).build().ok()
        });
        Ok(Some(rates.collect()))
    };
    block.set_throttle_read_bps_device(rates(&resources.blkio_read_bps)?);
    block.set_throttle_write_bps_device(rates(&resources.blkio_write_bps)?);
    block.set_throttle_read_iops_device(rates(&resources.blkio_read_iops)?);
    block.set_throttle_write_iops_device(rates(&resources.blkio_write_iops)?);
    limits.set_block_io(Some(block));
    Ok(())
}
