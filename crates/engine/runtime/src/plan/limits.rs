//! A spec's resources as limits of a group.

use hako_cgroup::{Device, DeviceKind, DeviceRule, Limits};
use hako_oci::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources, Spec};

/// The limits of a spec.
pub(crate) fn limits(spec: &Spec) -> Limits {
    let linux = spec.linux().as_ref();
    let Some(resources) = linux.and_then(|linux| linux.resources().as_ref()) else {
        return Limits::default();
    };
    let mut limits = Limits {
        pids: resources.pids().as_ref().map(|pids| pids.limit()).filter(|limit| *limit != 0),
        blkio_weight: resources.block_io().as_ref().and_then(|io| io.weight()),
        devices: resources.devices().as_ref().filter(|rules| !rules.is_empty()).map(|rules| {
            let own = linux.and_then(|linux| linux.devices().as_ref()).into_iter().flatten();
            let own = own.filter_map(|device| number_rule(device.typ(), device.major(), device.minor()));
            default_devices().into_iter().chain(own).fold(
                rules.iter().map(rule).collect(),
                |mut all: Vec<_>, next| {
                    all.push(next);
                    all
                },
            )
        }),
        unified: resources.unified().clone().unwrap_or_default().into_iter().collect(),
        ..Limits::default()
    };
    memory_and_cpu(&mut limits, resources);
    limits
}

fn memory_and_cpu(limits: &mut Limits, resources: &LinuxResources) {
    if let Some(memory) = resources.memory() {
        limits.memory_bytes = memory.limit().filter(|bytes| *bytes != 0);
        limits.memory_swap = memory.swap().filter(|bytes| *bytes != 0);
        limits.memory_reservation = memory.reservation().filter(|bytes| *bytes != 0);
    }
    if let Some(cpu) = resources.cpu() {
        limits.cpu_quota_us = cpu.quota();
        limits.cpu_period_us = cpu.period();
        limits.cpu_shares = cpu.shares();
        limits.cpuset_cpus = cpu.cpus().clone();
        limits.cpuset_mems = cpu.mems().clone();
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
