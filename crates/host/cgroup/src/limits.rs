//! Limits in one unit system, translated per version when they are written.

use crate::device::DeviceRule;

/// Limits of a group; `None` leaves what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Hard limit of memory in bytes; -1 is unlimited.
    pub memory_bytes: Option<i64>,
    /// Memory plus swap in bytes (version 1's meaning, also in OCI specs); -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// Soft limit of memory in bytes.
    pub memory_reservation: Option<i64>,
    /// CPU time in microseconds per period; -1 is unlimited.
    pub cpu_quota_us: Option<i64>,
    /// The period of `cpu_quota_us`; the kernel's default is 100,000.
    pub cpu_period_us: Option<u64>,
    /// Relative weight as version 1 counts it (2 to 262144, default 1024).
    pub cpu_shares: Option<u64>,
    /// Largest number of tasks; -1 is unlimited.
    pub pids: Option<i64>,
    /// CPUs, such as `0-1,3`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    pub cpuset_mems: Option<String>,
    /// Relative weight of block I/O (10 to 1000).
    pub blkio_weight: Option<u16>,
    /// Rules for device nodes, applied in order; `None` leaves devices unrestricted.
    pub devices: Option<Vec<DeviceRule>>,
    /// Files of version 2 to write as they are.
    pub unified: Vec<(String, String)>,
}

/// Version 2's `cpu.weight` (1 to 10000) for version 1's shares, by the kernel documentation's linear mapping.
pub(crate) fn weight_of_shares(shares: u64) -> u64 {
    if shares == 0 {
        return 100;
    }
    let shares = shares.clamp(2, 262_144);
    1 + ((shares - 2) * 9999) / 262_142
}

/// Version 2 counts swap alone, version 1 and OCI count memory plus swap.
pub(crate) fn swap_alone(memory: Option<i64>, memory_and_swap: i64) -> Option<i64> {
    match (memory, memory_and_swap) {
        (_, -1) => Some(-1),
        (Some(memory), both) if memory >= 0 && both >= memory => Some(both - memory),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_map_to_the_ends_of_the_weight_range() {
        assert_eq!([2, 1024, 262_144].map(weight_of_shares), [1, 39, 10_000]);
    }

    #[test]
    fn swap_is_what_exceeds_memory() {
        assert_eq!(swap_alone(Some(100), 150), Some(50));
        assert_eq!(swap_alone(Some(100), -1), Some(-1));
        assert_eq!(swap_alone(None, 150), None);
    }
}
