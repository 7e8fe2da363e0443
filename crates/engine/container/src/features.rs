//! Limits that not every kernel has.

use crate::Engine;
use hako_cgroup::Version;

/// A limit that not every kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `memory_swappiness`.
    Swappiness,
    /// `oom_kill_disable`.
    OomKillDisable,
    /// `kernel_memory_tcp`.
    KernelMemoryTcp,
    /// `cpu_realtime_…`.
    RealTime,
    /// `blkio_…_bps` and `_iops`.
    BlockRates,
}

impl Engine {
    /// Whether this kernel, with its hierarchies as they are mounted, has that limit.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        let (controller, file) = match feature {
            Feature::Swappiness => ("memory", "memory.swappiness"),
            Feature::OomKillDisable => ("memory", "memory.oom_control"),
            Feature::KernelMemoryTcp => ("memory", "memory.kmem.tcp.limit_in_bytes"),
            Feature::RealTime => ("cpu", "cpu.rt_runtime_us"),
            Feature::BlockRates => ("blkio", "blkio.throttle.read_bps_device"),
        };
        let cgroups = &self.core.config.cgroups;
        if feature == Feature::BlockRates && cgroups.with("io").is_some_and(|io| io.version == Version::V2) {
            return true;
        }
        cgroups
            .with(controller)
            .is_some_and(|one| one.version != Version::V2 && one.mount.join(file).exists())
    }
}
