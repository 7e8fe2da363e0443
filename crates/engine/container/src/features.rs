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
    /// `blkio_weight` and `blkio_weight_device`.
    BlockWeight,
}

/// What each kind of hierarchy calls the weight of a group, and a limit that every group has where it has any.
const WEIGHTS: [&str; 4] = ["blkio.bfq.weight", "blkio.weight", "io.bfq.weight", "io.weight"];
const BLOCK_LIMITS: [&str; 2] = ["blkio.throttle.read_bps_device", "io.max"];

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
            Feature::BlockWeight => return self.has_block_weight(),
        };
        let cgroups = &self.core.config.cgroups;
        if feature == Feature::BlockRates && cgroups.with("io").is_some_and(|io| io.version == Version::V2) {
            return true;
        }
        cgroups
            .with(controller)
            .is_some_and(|one| one.version != Version::V2 && one.mount.join(file).exists())
    }

    /// The root has no weight: groups below it show what the kernel has. Where there is none yet, it is found out by the
    /// first one.
    fn has_block_weight(&self) -> bool {
        let cgroups = &self.core.config.cgroups;
        let Some(one) = cgroups.with("blkio").or_else(|| cgroups.with("io")) else { return false };
        let groups = std::fs::read_dir(&one.mount).into_iter().flatten().flatten().map(|entry| entry.path());
        let has =
            |group: &std::path::Path, names: &[&str]| names.iter().any(|name| group.join(name).exists());
        let mut groups = groups.filter(|group| has(group, &BLOCK_LIMITS)).peekable();
        groups.peek().is_none() || groups.any(|group| has(&group, &WEIGHTS))
    }
}
