//! Limits and devices.

use super::super::host::{BlockLimit, HostConfig};
use crate::error::{Failure, invalid};
use hako_container::{Device, DeviceKind, DeviceRate, DeviceRule, Resources, Rlimit};
use serde_json::{Value, json};

const PERIOD_US: i64 = 100_000;
/// The least memory a container can live with, as Docker has it.
const LEAST_MEMORY: i64 = 6 << 20;

/// Docker's limits, where 0 is unlimited. `is_new` says that what is not there gets its default.
pub(crate) fn resources(host: &HostConfig, is_new: bool) -> Result<Resources, Failure> {
    if host.memory != 0 && host.memory < LEAST_MEMORY {
        return Err(invalid("Minimum memory limit allowed is 6MB"));
    }
    if is_new && host.memory == 0 && host.memory_swap > 0 {
        return Err(invalid("You should always set the Memory limit when using Memoryswap limit, see usage"));
    }
    if host.nano_cpus > 0 && (host.cpu_quota != 0 || host.cpu_period != 0) {
        let other = if host.cpu_period != 0 { "Period" } else { "Quota" };
        return Err(invalid(format!("Conflicting options: Nano CPUs and CPU {other} cannot both be set")));
    }
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    if !(0..=most).contains(&host.nano_cpus) {
        return Err(invalid(format!(
            "Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let text = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
    let (quota, period) = match host.nano_cpus {
        0 => (Some(host.cpu_quota).filter(|quota| *quota != 0), positive(host.cpu_period)),
        nano => (Some(nano / (1_000_000_000 / PERIOD_US)), positive(PERIOD_US)),
    };
    Ok(Resources {
        memory: positive(host.memory),
        memory_swap: match host.memory_swap {
            // Docker's default is as much swap as memory.
            0 if host.memory > 0 && is_new => Some(host.memory.saturating_mul(2)),
            0 => None,
            both => Some(both),
        },
        cpu_quota_us: quota,
        nano_cpus: positive(host.nano_cpus),
        cpu_period_us: period,
        cpu_shares: positive(host.cpu_shares),
        pids: host.pids_limit.filter(|limit| *limit != 0),
        cpuset_cpus: text(&host.cpuset_cpus),
        cpuset_mems: text(&host.cpuset_mems),
        memory_reservation: positive(host.memory_reservation),
        memory_swappiness: host.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        oom_kill_disable: host.oom_kill_disable.filter(|is_disabled| *is_disabled),
        kernel_memory_tcp: positive(host.kernel_memory_tcp),
        cpu_realtime_period_us: positive(host.cpu_realtime_period),
        cpu_realtime_runtime_us: Some(host.cpu_realtime_runtime).filter(|runtime| *runtime != 0),
        blkio_weight: Some(host.blkio_weight).filter(|weight| *weight != 0),
        blkio_weight_device: rates(host.blkio_weight_device.as_ref()),
        blkio_read_bps: rates(host.blkio_device_read_bps.as_ref()),
        blkio_write_bps: rates(host.blkio_device_write_bps.as_ref()),
        blkio_read_iops: rates(host.blkio_device_read_iops.as_ref()),
        blkio_write_iops: rates(host.blkio_device_write_iops.as_ref()),
    })
}

/// Docker has one way at a time to limit processor time, also over several updates.
pub(crate) fn check_update(host: &HostConfig, known: &Resources) -> Result<(), Failure> {
    let has_nano = known.nano_cpus.is_some();
    let refused = match () {
        () if host.cpu_period != 0 && has_nano => {
            "CPU Period cannot be updated as NanoCPUs has already been set"
        }
        () if host.cpu_quota != 0 && has_nano => {
            "CPU Quota cannot be updated as NanoCPUs has already been set"
        }
        () if host.nano_cpus != 0 && !has_nano && known.cpu_period_us.is_some() => {
            "NanoCPUs cannot be updated as CPU Period has already been set"
        }
        () if host.nano_cpus != 0 && !has_nano && known.cpu_quota_us.is_some() => {
            "NanoCPUs cannot be updated as CPU Quota has already been set"
        }
        () => return Ok(()),
    };
    Err(invalid(format!("Conflicting options: {refused}")))
}

/// What a container may use, as Docker names it: as it is now, after updates.
pub(crate) fn shown(resources: &Resources) -> [(&'static str, Value); 13] {
    let number = |value: Option<u64>| json!(value.unwrap_or(0));
    let signed = |value: Option<i64>| json!(value.unwrap_or(0));
    let text = |value: &Option<String>| json!(value.as_deref().unwrap_or_default());
    let by_quota = resources.nano_cpus.is_none();
    [
        ("Memory", number(resources.memory)),
        ("MemorySwap", signed(resources.memory_swap)),
        ("MemoryReservation", number(resources.memory_reservation)),
        ("NanoCpus", number(resources.nano_cpus)),
        ("CpuQuota", signed(resources.cpu_quota_us.filter(|_| by_quota))),
        ("CpuPeriod", number(resources.cpu_period_us.filter(|_| by_quota))),
        ("CpuShares", number(resources.cpu_shares)),
        ("CpuRealtimePeriod", number(resources.cpu_realtime_period_us)),
        ("CpuRealtimeRuntime", signed(resources.cpu_realtime_runtime_us)),
        ("CpusetCpus", text(&resources.cpuset_cpus)),
        ("CpusetMems", text(&resources.cpuset_mems)),
        ("BlkioWeight", json!(resources.blkio_weight.unwrap_or(0))),
        ("PidsLimit", json!(resources.pids)),
    ]
}

fn rates(list: Option<&Vec<BlockLimit>>) -> Vec<DeviceRate> {
    let one = |limit: &BlockLimit| DeviceRate { path: limit.path.clone().into(), rate: limit.rate };
    list.into_iter().flatten().map(one).collect()
}

pub(super) fn rlimits(host: &HostConfig) -> Vec<Rlimit> {
    host.ulimits
        .iter()
        .flatten()
        .map(|limit| Rlimit { name: limit.name.clone(), soft: rlim(limit.soft), hard: rlim(limit.hard) })
        .collect()
}

/// -1 is unlimited.
pub(super) fn rlim(limit: i64) -> u64 {
    u64::try_from(limit).unwrap_or(u64::MAX)
}

pub(super) fn devices(host: &HostConfig) -> Vec<Device> {
    host.devices
        .iter()
        .flatten()
        .map(|device| Device {
            host_path: device.path_on_host.clone().into(),
            container_path: device.path_in_container.clone().into(),
            access: if device.cgroup_permissions.is_empty() {
                "rwm".into()
            } else {
                device.cgroup_permissions.clone()
            },
        })
        .collect()
}

/// `c 1:3 rwm`, where a number may be `*`.
pub(super) fn device_rules(host: &HostConfig) -> Result<Vec<DeviceRule>, Failure> {
    let rules = host.device_cgroup_rules.iter().flatten();
    rules
        .map(|text| {
            device_rule(text).ok_or_else(|| invalid(format!("invalid device cgroup rule format: '{text}'")))
        })
        .collect()
}

fn device_rule(text: &str) -> Option<DeviceRule> {
    let mut words = text.split_whitespace();
    let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| match text {
        "*" => Some(None),
        text => text.parse().ok().map(Some),
    };
    let kind = match kind {
        "a" => DeviceKind::All,
        "b" => DeviceKind::Block,
        "c" => DeviceKind::Char,
        _ => return None,
    };
    let is_access =
        !access.is_empty() && access.len() <= 3 && access.bytes().all(|letter| b"rwm".contains(&letter));
    let rule = DeviceRule { kind, major: number(major)?, minor: number(minor)?, access: access.to_owned() };
    (is_access && words.next().is_none()).then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_rules_have_numbers_or_stars() {
        let rule = device_rule("c 1:* rw").unwrap();
        assert_eq!((rule.kind, rule.major, rule.minor), (DeviceKind::Char, Some(1), None));
        assert!(
            ["x 1:1 r", "c 1 r", "c 1:1 q", "c 1:1", "c a:1 r", "c 1:1 r w"]
                .iter()
                .all(|text| device_rule(text).is_none())
        );
    }
}
