//! A spec's resources as limits of a group.

use hako_cgroup::{BlockDevice, Device, DeviceKind, DeviceRule, Limits};
use hako_error::Result;
use hako_oci::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources, LinuxThrottleDevice, Spec};

use super::{PlanError, not_supported};

/// The limits of a spec.
pub(crate) fn limits(spec: &Spec) -> Result<Limits> {
    let linux = spec.linux().as_ref();
    let Some(resources) = linux.and_then(|linux| linux.resources().as_ref()) else {
        return Ok(Limits::default());
    };
    let own = linux.and_then(|linux| linux.devices().as_ref()).into_iter().flatten();
    let own = own.filter_map(|device| number_rule(device.typ(), device.major(), device.minor()));
    let mut limits = resource_limits(resources)?;
    limits.devices = resources
        .devices()
        .as_ref()
        .filter(|rules| !rules.is_empty())
        .map(|rules| rules.iter().map(rule).chain(default_devices()).chain(own).collect());
    Ok(limits)
}

/// The limits of a spec's resources, without the rules for devices.
pub(crate) fn resource_limits(resources: &LinuxResources) -> Result<Limits> {
    let mut limits = Limits {
        pids: resources.pids().as_ref().map(|pids| pids.limit()).filter(|limit| *limit != 0),
        unified: resources.unified().clone().unwrap_or_default().into_iter().collect(),
        ..Limits::default()
    };
    memory(&mut limits, resources)?;
    cpu(&mut limits, resources);
    block(&mut limits, resources)?;
    for page in resources.hugepage_limits().iter().flatten() {
        limits.hugetlb.push((page.page_size().clone(), u64::try_from(page.limit()).unwrap_or(u64::MAX)));
    }
    if let Some(network) = resources.network() {
        limits.net_class = network.class_id().filter(|class| *class != 0);
        let priorities = network.priorities().iter().flatten();
        limits.net_priorities = priorities.map(|one| (one.name().clone(), one.priority())).collect();
    }
    for (device, rdma) in resources.rdma().iter().flatten() {
        let pair = |name, value: Option<u32>| value.map(|value| format!("{name}={value}"));
        let pairs = [pair("hca_handle", rdma.hca_handles()), pair("hca_object", rdma.hca_objects())];
        limits.rdma.push((device.clone(), pairs.into_iter().flatten().collect::<Vec<_>>().join(" ")));
    }
    Ok(limits)
}

fn memory(limits: &mut Limits, resources: &LinuxResources) -> Result<()> {
    let Some(memory) = resources.memory() else { return Ok(()) };
    let set = |bytes: Option<i64>| bytes.filter(|bytes| *bytes != 0);
    limits.memory_bytes = set(memory.limit());
    limits.memory_swap = set(memory.swap());
    limits.memory_reservation = set(memory.reservation());
    // -1 is no limit, which every kernel can do.
    limits.kernel_memory = set(memory.kernel()).filter(|bytes| *bytes > 0);
    limits.kernel_memory_tcp = set(memory.kernel_tcp()).filter(|bytes| *bytes > 0);
    // Old engines say "not set" by the largest number.
    limits.swappiness = memory.swappiness().filter(|value| *value <= 200);
    limits.oom_kill_disable = memory.disable_oom_killer();
    limits.check_memory_usage = memory.check_before_update().unwrap_or(false);
    if memory.use_hierarchy() == Some(false) {
        return Err(not_supported(
            "memory.useHierarchy false",
            "the kernel counts by hierarchy only; remove it",
        ));
    }
    Ok(())
}

fn cpu(limits: &mut Limits, resources: &LinuxResources) {
    let Some(cpu) = resources.cpu() else { return };
    limits.cpu_quota_us = cpu.quota();
    limits.cpu_period_us = cpu.period();
    limits.cpu_burst_us = cpu.burst();
    limits.cpu_shares = cpu.shares();
    limits.cpu_idle = cpu.idle();
    limits.cpu_rt_runtime_us = cpu.realtime_runtime().filter(|value| *value != 0);
    limits.cpu_rt_period_us = cpu.realtime_period().filter(|value| *value != 0);
    limits.cpuset_cpus = cpu.cpus().clone();
    limits.cpuset_mems = cpu.mems().clone();
}

fn block(limits: &mut Limits, resources: &LinuxResources) -> Result<()> {
    let Some(io) = resources.block_io() else { return Ok(()) };
    let leaf = |weight: Option<u16>| weight.is_some_and(|weight| weight != 0);
    let mut devices = io.weight_device().iter().flatten();
    if leaf(io.leaf_weight()) || devices.any(|device| leaf(device.leaf_weight())) {
        return Err(not_supported("blockIO.leafWeight", "no scheduler of this kernel knows it; use weight"));
    }
    limits.blkio_weight = io.weight();
    for device in io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            limits.blkio.weights.push((block_device(device.major(), device.minor())?, weight));
        }
    }
    let rates = |list: &Option<Vec<LinuxThrottleDevice>>| -> Result<Vec<_>> {
        let one = |rate: &LinuxThrottleDevice| Ok((block_device(rate.major(), rate.minor())?, rate.rate()));
        list.iter().flatten().map(one).collect()
    };
    limits.blkio.read_bps = rates(io.throttle_read_bps_device())?;
    limits.blkio.write_bps = rates(io.throttle_write_bps_device())?;
    limits.blkio.read_iops = rates(io.throttle_read_iops_device())?;
    limits.blkio.write_iops = rates(io.throttle_write_iops_device())?;
    Ok(())
}

fn block_device(major: i64, minor: i64) -> Result<BlockDevice> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(BlockDevice { major, minor }),
        _ => Err(PlanError::Bad {
            field: "linux.resources.blockIO",
            value: format!("{major}:{minor}"),
            expected: "name a device by its numbers",
        }
        .into()),
    }
}

fn kind(kind: LinuxDeviceType) -> DeviceKind {
    match kind {
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Char,
        _ => DeviceKind::All,
    }
}

fn rule(rule: &LinuxDeviceCgroup) -> DeviceRule {
    let access = rule.access().as_deref().unwrap_or("rwm");
    let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
    DeviceRule {
        allow: rule.allow(),
        device: Device {
            kind: rule.typ().map_or(DeviceKind::All, kind),
            major: number(rule.major()),
            minor: number(rule.minor()),
        },
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    }
}

fn number_rule(of: LinuxDeviceType, major: i64, minor: i64) -> Option<DeviceRule> {
    let allowed = matches!(of, LinuxDeviceType::B | LinuxDeviceType::C | LinuxDeviceType::U);
    Some(DeviceRule {
        allow: true,
        device: Device {
            kind: kind(of),
            major: Some(u32::try_from(major).ok()?),
            minor: Some(u32::try_from(minor).ok()?),
        },
        read: true,
        write: true,
        mknod: true,
    })
    .filter(|_| allowed)
}

/// The devices that every container may use, whatever its rules deny: null, zero, full, random, urandom, tty,
/// console, ptmx, terminals of devpts; and making any node, which is of no use without the right to open it.
fn default_devices() -> Vec<DeviceRule> {
    let allow = |kind, major, minor, open| DeviceRule {
        allow: true,
        device: Device { kind, major, minor },
        read: open,
        write: open,
        mknod: true,
    };
    let char = |major, minor| allow(DeviceKind::Char, Some(major), minor, true);
    vec![
        allow(DeviceKind::Char, None, None, false),
        allow(DeviceKind::Block, None, None, false),
        char(1, Some(3)),
        char(1, Some(5)),
        char(1, Some(7)),
        char(1, Some(8)),
        char(1, Some(9)),
        char(5, Some(0)),
        char(5, Some(1)),
        char(5, Some(2)),
        char(136, None),
    ]
}
