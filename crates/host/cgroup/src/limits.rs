//! Limits in one unit system, translated per version when they are written.

use std::fmt;

use crate::device::DeviceRule;

/// Limits of a group; `None` and what is empty leave what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Hard limit of memory in bytes; -1 is unlimited.
    pub memory_bytes: Option<i64>,
    /// Memory plus swap in bytes (version 1's meaning, also in OCI specs); -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// Soft limit of memory in bytes.
    pub memory_reservation: Option<i64>,
    /// How eagerly anonymous memory is swapped, 0 to 100 (version 1 only).
    pub swappiness: Option<u64>,
    /// Whether tasks wait for memory instead of being killed for it (version 1 only).
    pub oom_kill_disable: Option<bool>,
    /// Kernel memory in bytes (version 1 of old kernels only).
    pub kernel_memory: Option<i64>,
    /// Memory of TCP buffers in bytes (version 1 only).
    pub kernel_memory_tcp: Option<i64>,
    /// Whether a limit of memory below the present usage is refused instead of enforced by killing.
    pub check_memory_usage: bool,
    /// CPU time in microseconds per period; -1 is unlimited.
    pub cpu_quota_us: Option<i64>,
    /// The period of `cpu_quota_us`; the kernel's default is 100,000.
    pub cpu_period_us: Option<u64>,
    /// Unused time that may be used later, in microseconds.
    pub cpu_burst_us: Option<u64>,
    /// Relative weight as version 1 counts it (2 to 262144, default 1024).
    pub cpu_shares: Option<u64>,
    /// 1 for tasks that run only when nobody else wants to.
    pub cpu_idle: Option<i64>,
    /// Time for real-time tasks in microseconds per `cpu_rt_period_us` (version 1 only).
    pub cpu_rt_runtime_us: Option<i64>,
    /// The period of `cpu_rt_runtime_us` (version 1 only).
    pub cpu_rt_period_us: Option<u64>,
    /// Largest number of tasks; -1 is unlimited.
    pub pids: Option<i64>,
    /// CPUs, such as `0-1,3`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    pub cpuset_mems: Option<String>,
    /// Relative weight of block I/O (10 to 1000).
    pub blkio_weight: Option<u16>,
    /// Limits of block I/O for single devices.
    pub blkio: BlockLimits,
    /// Huge pages: (page size such as `2MB`, bytes).
    pub hugetlb: Vec<(String, u64)>,
    /// The class of network packets (version 1 only).
    pub net_class: Option<u32>,
    /// Priorities of network packets by link (version 1 only).
    pub net_priorities: Vec<(String, u32)>,
    /// Handles and objects of RDMA devices: (device, line behind it, such as `hca_handle=3 hca_object=100`).
    pub rdma: Vec<(String, String)>,
    /// Rules for device nodes, applied in order; `None` leaves devices unrestricted.
    pub devices: Option<Vec<DeviceRule>>,
    /// Files of version 2 to write as they are.
    pub unified: Vec<(String, String)>,
}

/// A block device by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockDevice {
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
}

impl fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// Limits of block I/O for single devices; 0 lifts one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockLimits {
    /// Relative weights (10 to 1000).
    pub weights: Vec<(BlockDevice, u16)>,
    /// Bytes read per second.
    pub read_bps: Vec<(BlockDevice, u64)>,
    /// Bytes written per second.
    pub write_bps: Vec<(BlockDevice, u64)>,
    /// Reads per second.
    pub read_iops: Vec<(BlockDevice, u64)>,
    /// Writes per second.
    pub write_iops: Vec<(BlockDevice, u64)>,
}

/// One kind of rate: its file of version 1, its key of version 2, the devices.
type Rates<'a> = (&'static str, &'static str, &'a [(BlockDevice, u64)]);

impl BlockLimits {
    /// The four rates with their names in version 1's files and version 2's `io.max`.
    pub(crate) fn rates(&self) -> [Rates<'_>; 4] {
        [
            ("blkio.throttle.read_bps_device", "rbps", &self.read_bps),
            ("blkio.throttle.write_bps_device", "wbps", &self.write_bps),
            ("blkio.throttle.read_iops_device", "riops", &self.read_iops),
            ("blkio.throttle.write_iops_device", "wiops", &self.write_iops),
        ]
    }
}

/// Version 2's `cpu.weight` (1 to 10000) for version 1's shares, by the kernel documentation's linear mapping.
pub(crate) fn weight_of_shares(shares: u64) -> u64 {
    if shares == 0 {
        return 100;
    }
    let shares = shares.clamp(2, 262_144);
    1 + ((shares - 2) * 9999) / 262_142
}

/// Version 2's `io.weight` (1 to 10000) for version 1's weight (10 to 1000).
pub(crate) fn io_weight(weight: u16) -> u64 {
    let weight = u64::from(weight.clamp(10, 1000));
    1 + (weight - 10) * 9999 / 990
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
    fn weights_map_to_the_ends_of_the_weight_range() {
        assert_eq!([10, 500, 1000].map(io_weight), [1, 4950, 10_000]);
    }

    #[test]
    fn swap_is_what_exceeds_memory() {
        assert_eq!(swap_alone(Some(100), 150), Some(50));
        assert_eq!(swap_alone(Some(100), -1), Some(-1));
        assert_eq!(swap_alone(None, 150), None);
    }
}
