//! Limits that contradict each other, and those that this kernel has not: Docker refuses the former and leaves the
//! latter away with a warning.

use super::super::host::HostConfig;
use super::cpuset::check_cpusets;
use crate::api::ApiVersion;
use crate::error::{Failure, invalid};
use hako_container::Feature;

/// The least memory that a container can live with, as Docker has it.
const LEAST_MEMORY: i64 = 6 << 20;
const PERIODS_US: std::ops::RangeInclusive<i64> = 1_000..=1_000_000;
/// What the kernel takes as shares of the processor; what is outside it bends without a word.
const SHARES: (i64, i64) = (2, 262_144);
const WEIGHTS: std::ops::RangeInclusive<u64> = 10..=1000;

/// Checks the limits, takes away those that the kernel has not, and says which.
pub(crate) fn settle(
    has: impl Fn(Feature) -> bool,
    host: &mut HostConfig,
    version: ApiVersion,
) -> Result<Vec<String>, Failure> {
    check_memory(host)?;
    check_processor(host, &has)?;
    check_weights(host)?;
    check_cpusets(host)?;
    let mut warnings = Vec::new();
    settle_memory(&has, host, version, &mut warnings);
    settle_weights(&has, host, &mut warnings);
    settle_rates(&has, host, &mut warnings);
    Ok(warnings)
}

fn check_memory(host: &HostConfig) -> Result<(), Failure> {
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return Err(invalid("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    if host.memory_reservation != 0 && host.memory_reservation < LEAST_MEMORY {
        return Err(invalid("Minimum memory reservation allowed is 6MB"));
    }
    if host.memory > 0 && host.memory < host.memory_reservation {
        return Err(invalid("Minimum memory limit can not be less than memory reservation limit, see usage"));
    }
    match host.memory_swappiness {
        Some(value) if !(-1..=100).contains(&value) => {
            Err(invalid(format!("Invalid value: {value}, valid memory swappiness range is 0-100")))
        }
        _ => Ok(()),
    }
}

fn check_processor(host: &HostConfig, has: &impl Fn(Feature) -> bool) -> Result<(), Failure> {
    match host.cpu_shares {
        0 => {}
        shares if shares < SHARES.0 => {
            return Err(invalid(format!("the minimum allowed cpu-shares is {}", SHARES.0)));
        }
        shares if shares > SHARES.1 => {
            return Err(invalid(format!("the maximum allowed cpu-shares is {}", SHARES.1)));
        }
        _ => {}
    }
    if host.cpu_period != 0 && !PERIODS_US.contains(&host.cpu_period) {
        return Err(invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if host.cpu_quota > 0 && host.cpu_quota < *PERIODS_US.start() {
        return Err(invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    let (period, runtime) = (host.cpu_realtime_period, host.cpu_realtime_runtime);
    if (period != 0 || runtime != 0) && !has(Feature::RealTime) {
        return Err(invalid("Your kernel does not support CPU real-time scheduler"));
    }
    match period > 0 && runtime > period {
        true => Err(invalid("cpu real-time runtime cannot be higher than cpu real-time period")),
        false => Ok(()),
    }
}

fn check_weights(host: &HostConfig) -> Result<(), Failure> {
    if host.blkio_weight != 0 && !WEIGHTS.contains(&u64::from(host.blkio_weight)) {
        return Err(invalid("Range of blkio weight is from 10 to 1000"));
    }
    let devices = host.blkio_weight_device.iter().flatten();
    match devices.into_iter().find(|device| device.rate != 0 && !WEIGHTS.contains(&device.rate)) {
        Some(device) => Err(invalid(format!("Range of blkio weight of {} is from 10 to 1000", device.path))),
        None => Ok(()),
    }
}

/// A limit that is asked for and that the kernel has not, with Docker's words for it.
fn discarded(what: &str, outcome: &str) -> String {
    format!(
        "Your kernel does not support {what} capabilities or the cgroup is not mounted. {outcome} discarded."
    )
}

fn settle_memory(
    has: &impl Fn(Feature) -> bool,
    host: &mut HostConfig,
    version: ApiVersion,
    warnings: &mut Vec<String>,
) {
    host.memory_swappiness = host.memory_swappiness.filter(|value| *value >= 0);
    if host.memory_swappiness.is_some() && !has(Feature::Swappiness) {
        host.memory_swappiness = None;
        warnings.push(discarded("memory swappiness", "Memory swappiness"));
    }
    // No kernel of today has it, and no version since 1.42 knows the field.
    if host.kernel_memory > 0 && !version.has(42) {
        warnings.push(discarded("kernel memory limit", "Limitation"));
    }
    if host.kernel_memory_tcp > 0 && !has(Feature::KernelMemoryTcp) {
        host.kernel_memory_tcp = 0;
        warnings.push(discarded("kernel memory TCP limit", "Limitation"));
    }
    if host.oom_kill_disable != Some(true) {
        return;
    }
    if !has(Feature::OomKillDisable) {
        host.oom_kill_disable = None;
        warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned());
    } else if host.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system \
             running out of resources."
                .to_owned(),
        );
    }
}

fn settle_weights(has: &impl Fn(Feature) -> bool, host: &mut HostConfig, warnings: &mut Vec<String>) {
    let is_asked = host.blkio_weight > 0 || host.blkio_weight_device.iter().any(|list| !list.is_empty());
    if !is_asked || has(Feature::BlockWeight) {
        return;
    }
    let warning = |what, end| {
        format!(
            "Your kernel does not support Block I/O {what} or the cgroup is not mounted. {end} discarded."
        )
    };
    if host.blkio_weight > 0 {
        host.blkio_weight = 0;
        warnings.push(warning("weight", "Weight"));
    }
    if host.blkio_weight_device.take().is_some_and(|list| !list.is_empty()) {
        warnings.push(warning("weight_device", "Weight-device"));
    }
}

fn settle_rates(has: &impl Fn(Feature) -> bool, host: &mut HostConfig, warnings: &mut Vec<String>) {
    if has(Feature::BlockRates) {
        return;
    }
    for (list, what) in [
        (&mut host.blkio_device_read_bps, "BPS Block I/O read limit"),
        (&mut host.blkio_device_write_bps, "BPS Block I/O write limit"),
        (&mut host.blkio_device_read_iops, "IOPS Block read limit"),
        (&mut host.blkio_device_write_iops, "IOPS Block write limit"),
    ] {
        if list.take().is_some_and(|list| !list.is_empty()) {
            warnings.push(format!(
                "Your kernel does not support {what} or the cgroup is not mounted. Block I/O limit discarded."
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::NEWEST;
    use serde_json::{Value, json};

    fn settled(kernel: bool, host: Value, version: ApiVersion) -> Result<(HostConfig, Vec<String>), String> {
        let mut host: HostConfig = serde_json::from_value(host).unwrap();
        let warnings = settle(|_| kernel, &mut host, version).map_err(|failure| failure.0.chain())?;
        Ok((host, warnings))
    }

    #[test]
    fn what_the_kernel_has_not_is_left_away_with_a_warning() {
        let asked = json!({ "MemorySwappiness": 10, "OomKillDisable": true, "KernelMemory": 1 << 30, "KernelMemoryTCP": 1 << 30,
            "BlkioDeviceReadBps": [{ "Path": "/dev/sda", "Rate": 1 }],
            "BlkioWeight": 100, "BlkioWeightDevice": [{ "Path": "/dev/sda", "Weight": 100 }] });
        let (host, warnings) = settled(false, asked.clone(), ApiVersion(1, 41)).unwrap();
        assert_eq!(warnings.len(), 7, "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.ends_with("discarded.")), "{warnings:?}");
        assert_eq!((host.memory_swappiness, host.oom_kill_disable, host.kernel_memory_tcp), (None, None, 0));
        assert!(host.blkio_device_read_bps.is_none() && host.blkio_weight_device.is_none());
        assert_eq!(host.blkio_weight, 0);
        let (host, warnings) = settled(true, asked, NEWEST).unwrap();
        assert_eq!((host.memory_swappiness, host.blkio_weight), (Some(10), 100));
        assert!(warnings.len() == 1 && warnings[0].contains("no memory limit is set"), "{warnings:?}");
        let unset =
            settled(false, json!({ "MemorySwappiness": -1, "OomKillDisable": false }), NEWEST).unwrap();
        assert!(unset.1.is_empty());
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        let refused = |kernel, host, words: &str| {
            let said = settled(kernel, host, NEWEST).unwrap_err();
            assert!(said.contains(words), "{said}");
        };
        let mib = 1 << 20;
        refused(true, json!({ "Memory": 20 * mib, "MemorySwap": 10 * mib }), "Minimum memoryswap limit");
        refused(
            true,
            json!({ "Memory": 20 * mib, "MemoryReservation": 30 * mib }),
            "memory reservation limit",
        );
        refused(true, json!({ "MemoryReservation": mib }), "allowed is 6MB");
        refused(true, json!({ "MemorySwappiness": 101 }), "valid memory swappiness range is 0-100");
        refused(true, json!({ "CpuQuota": 10 }), "CPU cfs quota");
        refused(true, json!({ "CpuPeriod": 10 }), "CPU cfs period");
        refused(true, json!({ "CpuRealtimePeriod": 10, "CpuRealtimeRuntime": 20 }), "cannot be higher");
        refused(false, json!({ "CpuRealtimeRuntime": 20 }), "real-time scheduler");
        refused(true, json!({ "BlkioWeight": 5 }), "from 10 to 1000");
        refused(
            true,
            json!({ "BlkioWeightDevice": [{ "Path": "/dev/sda", "Weight": 5 }] }),
            "from 10 to 1000",
        );
    }
}
