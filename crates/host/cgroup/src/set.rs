//! Writing limits, each in the units and the files of its hierarchy's version.
//!
//! Invariant: a limit that is asked for is written or answered with an error that names it.

use std::path::{Path, PathBuf};

use crate::device::DeviceRule;
use crate::error::CgroupError;
use crate::file;
use crate::group::Cgroup;
use crate::limits::{BlockDevice, Limits, io_weight, swap_alone, weight_of_shares};
use crate::root::Version;

/// `max` for -1, as version 2 and `pids.max` write it.
fn max_or(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// Writes a file that only some kernels have.
fn write_if_known(limit: &'static str, path: &Path, value: &str) -> Result<(), CgroupError> {
    match file::write(path, value) {
        Err(CgroupError::Io { source, .. }) if is_unknown(&source) => {
            Err(CgroupError::Unsupported { limit, path: path.to_owned() })
        }
        other => other,
    }
}

/// Not there, or there and without meaning any more (the kernel's own ENOTSUPP is 524).
fn is_unknown(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || matches!(error.raw_os_error(), Some(95 | 524))
}

impl Cgroup {
    /// Sets limits; those that are `None` stay. Processes of the group come under each of them, also where the group
    /// is made for it.
    pub fn set(&self, limits: &Limits) -> Result<(), CgroupError> {
        let before: Vec<_> = self.directories().map(|(_, path)| path).collect();
        self.write_limits(limits)?;
        self.spread(&before)
    }

    fn write_limits(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.set_memory(limits)?;
        self.set_memory_behaviour(limits)?;
        self.set_cpu(limits)?;
        self.set_cpu_behaviour(limits)?;
        if let Some(pids) = limits.pids {
            let (_, path) = self.needed("pids")?;
            file::write(&path.join("pids.max"), &max_or(pids))?;
        }
        for (file, value) in [("cpuset.cpus", &limits.cpuset_cpus), ("cpuset.mems", &limits.cpuset_mems)] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                let (_, path) = self.needed("cpuset")?;
                file::write(&path.join(file), value)?;
            }
        }
        self.set_block_weights(limits)?;
        self.set_block_rates(limits)?;
        self.set_hugetlb(limits)?;
        self.set_network(limits)?;
        for (device, line) in &limits.rdma {
            let (_, path) = self.needed("rdma")?;
            file::write(&path.join("rdma.max"), &format!("{device} {line}"))?;
        }
        if let Some(rules) = &limits.devices {
            self.set_devices(rules)?;
        }
        for (name, value) in &limits.unified {
            self.set_unified(name, value)?;
        }
        Ok(())
    }

    fn set_memory(&self, limits: &Limits) -> Result<(), CgroupError> {
        if limits.memory_bytes.is_none()
            && limits.memory_swap.is_none()
            && limits.memory_reservation.is_none()
        {
            return Ok(());
        }
        let (version, path) = self.needed("memory")?;
        let (hard, soft) = match version {
            Version::V2 => ("memory.max", "memory.low"),
            _ => ("memory.limit_in_bytes", "memory.soft_limit_in_bytes"),
        };
        let text = |bytes: i64| {
            if version == Version::V2 { max_or(bytes) } else { bytes.to_string() }
        };
        if let Some(bytes) = limits.memory_bytes.filter(|bytes| limits.check_memory_usage && *bytes >= 0) {
            self.check_usage(bytes.cast_unsigned())?;
        }
        let swap = path.join("memory.memsw.limit_in_bytes");
        let both = limits.memory_swap.filter(|_| version != Version::V2 && swap.exists());
        // Version 1 wants memory <= memory+swap at every moment: raise the sum first, lower it last.
        let raised_first = both.is_some_and(|both| file::write(&swap, &both.to_string()).is_ok());
        if let Some(bytes) = limits.memory_bytes {
            file::write(&path.join(hard), &text(bytes))?;
        }
        if let Some(both) = both.filter(|_| !raised_first) {
            file::write(&swap, &both.to_string())?;
        }
        if let Some(both) = limits.memory_swap.filter(|_| version == Version::V2) {
            let file = path.join("memory.swap.max");
            if let Some(alone) = swap_alone(limits.memory_bytes, both).filter(|_| file.exists()) {
                file::write(&file, &max_or(alone))?;
            }
        }
        if let Some(bytes) = limits.memory_reservation {
            file::write(&path.join(soft), &text(bytes))?;
        }
        Ok(())
    }

    fn check_usage(&self, limit: u64) -> Result<(), CgroupError> {
        let usage = self.stats()?.memory_usage;
        if usage <= limit {
            return Ok(());
        }
        Err(CgroupError::BelowUsage { limit, usage, path: self.path.clone() })
    }

    fn set_memory_behaviour(&self, limits: &Limits) -> Result<(), CgroupError> {
        let kill = limits.oom_kill_disable.map(u8::from);
        let files = [
            ("memory swappiness", "memory.swappiness", limits.swappiness.map(|one| one.to_string())),
            ("kernel memory", "memory.kmem.limit_in_bytes", limits.kernel_memory.map(|one| one.to_string())),
            (
                "kernel TCP memory",
                "memory.kmem.tcp.limit_in_bytes",
                limits.kernel_memory_tcp.map(|one| one.to_string()),
            ),
            ("disabling the OOM killer", "memory.oom_control", kill.map(|one| one.to_string())),
        ];
        for (limit, name, value) in files {
            let Some(value) = value else { continue };
            let (version, path) = self.needed("memory")?;
            let is_default = name == "memory.oom_control" && value == "0";
            if version == Version::V2 && is_default {
                continue;
            }
            write_if_known(limit, &path.join(name), &value)?;
        }
        Ok(())
    }

    fn set_cpu(&self, limits: &Limits) -> Result<(), CgroupError> {
        if limits.cpu_quota_us.is_none() && limits.cpu_period_us.is_none() && limits.cpu_shares.is_none() {
            return Ok(());
        }
        let (version, path) = self.needed("cpu")?;
        if let Some(shares) = limits.cpu_shares.filter(|shares| *shares > 0) {
            match version {
                Version::V2 => file::write(&path.join("cpu.weight"), &weight_of_shares(shares).to_string())?,
                _ => file::write(&path.join("cpu.shares"), &shares.to_string())?,
            }
        }
        let (quota, period) = (limits.cpu_quota_us, limits.cpu_period_us.filter(|period| *period > 0));
        if version == Version::V2 {
            if quota.is_some() || period.is_some() {
                let quota = max_or(quota.filter(|quota| *quota != 0).unwrap_or(-1));
                file::write(&path.join("cpu.max"), &format!("{quota} {}", period.unwrap_or(100_000)))?;
            }
            return Ok(());
        }
        if let Some(period) = period {
            file::write(&path.join("cpu.cfs_period_us"), &period.to_string())?;
        }
        if let Some(quota) = quota.filter(|quota| *quota != 0) {
            file::write(&path.join("cpu.cfs_quota_us"), &quota.to_string())?;
        }
        Ok(())
    }

    /// Burst comes behind the quota it must not exceed, real time's period before its runtime for the same reason.
    fn set_cpu_behaviour(&self, limits: &Limits) -> Result<(), CgroupError> {
        let text = |value: Option<u64>| value.map(|value| value.to_string());
        let signed = |value: Option<i64>| value.map(|value| value.to_string());
        let files = [
            ("CPU burst", "cpu.cfs_burst_us", "cpu.max.burst", text(limits.cpu_burst_us)),
            ("idle CPU", "cpu.idle", "cpu.idle", signed(limits.cpu_idle)),
            ("real-time period", "cpu.rt_period_us", "", text(limits.cpu_rt_period_us)),
            ("real-time runtime", "cpu.rt_runtime_us", "", signed(limits.cpu_rt_runtime_us)),
        ];
        for (limit, v1, v2, value) in files {
            let Some(value) = value else { continue };
            let (version, path) = self.needed("cpu")?;
            let name = if version == Version::V2 { v2 } else { v1 };
            if name.is_empty() {
                return Err(CgroupError::Unsupported { limit, path });
            }
            write_if_known(limit, &path.join(name), &value)?;
        }
        Ok(())
    }

    /// The directory block I/O is limited in.
    fn block(&self) -> Result<(Version, PathBuf), CgroupError> {
        match self.under("io") {
            Some((Version::V2, _)) => self.needed("io"),
            _ => self.needed("blkio"),
        }
    }

    fn set_block_weights(&self, limits: &Limits) -> Result<(), CgroupError> {
        let weight = limits.blkio_weight.filter(|weight| *weight > 0);
        if weight.is_none() && limits.blkio.weights.is_empty() {
            return Ok(());
        }
        let limit = "block I/O weight (does the device use the BFQ scheduler?)";
        let (version, path) = self.block()?;
        let (names, of): ([&str; 2], fn(u16) -> u64) = match version {
            Version::V2 => (["io.bfq.weight", "io.weight"], io_weight),
            _ => (["blkio.bfq.weight", "blkio.weight"], u64::from),
        };
        let found = names.into_iter().map(|name| path.join(name)).find(|file| file.exists());
        let file = found.ok_or_else(|| CgroupError::Unsupported { limit, path: path.clone() })?;
        // BFQ counts 1 to 1000 in version 2 too.
        let is_bfq = file.ends_with("io.bfq.weight");
        let text = |weight: u16| if is_bfq { u64::from(weight) } else { of(weight) };
        if let Some(weight) = weight {
            file::write(&file, &text(weight).to_string())?;
        }
        let mut for_devices = file.into_os_string();
        if version != Version::V2 {
            for_devices.push("_device");
        }
        for (device, weight) in &limits.blkio.weights {
            write_if_known(limit, Path::new(&for_devices), &format!("{device} {}", text(*weight)))?;
        }
        Ok(())
    }

    fn set_block_rates(&self, limits: &Limits) -> Result<(), CgroupError> {
        for (v1, v2, rates) in limits.blkio.rates() {
            for (device, rate) in rates {
                self.set_block_rate((v1, v2), *device, *rate)?;
            }
        }
        Ok(())
    }

    fn set_block_rate(
        &self,
        (v1, v2): (&str, &str),
        device: BlockDevice,
        rate: u64,
    ) -> Result<(), CgroupError> {
        let limit = "block I/O rate";
        match self.block()? {
            (Version::V2, path) => {
                let rate = if rate == 0 { "max".to_owned() } else { rate.to_string() };
                write_if_known(limit, &path.join("io.max"), &format!("{device} {v2}={rate}"))
            }
            (_, path) => write_if_known(limit, &path.join(v1), &format!("{device} {rate}")),
        }
    }

    fn set_hugetlb(&self, limits: &Limits) -> Result<(), CgroupError> {
        for (size, bytes) in &limits.hugetlb {
            let (version, path) = self.needed("hugetlb")?;
            let end = if version == Version::V2 { "max" } else { "limit_in_bytes" };
            if size.contains('/') {
                return Err(CgroupError::BadPath { path: size.clone() });
            }
            write_if_known(
                "huge pages of this size",
                &path.join(format!("hugetlb.{size}.{end}")),
                &bytes.to_string(),
            )?;
            // What is reserved counts too where the kernel tells it apart, or it would be killed at its first touch.
            let reserved = path.join(format!("hugetlb.{size}.rsvd.{end}"));
            if reserved.exists() {
                file::write(&reserved, &bytes.to_string())?;
            }
        }
        Ok(())
    }

    fn set_network(&self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(class) = limits.net_class {
            let (_, path) = self.needed("net_cls")?;
            file::write(&path.join("net_cls.classid"), &class.to_string())?;
        }
        for (link, priority) in &limits.net_priorities {
            let (_, path) = self.needed("net_prio")?;
            file::write(&path.join("net_prio.ifpriomap"), &format!("{link} {priority}"))?;
        }
        Ok(())
    }

    fn set_devices(&self, rules: &[DeviceRule]) -> Result<(), CgroupError> {
        if let Some((Version::V1, _)) = self.under("devices") {
            let (_, path) = self.needed("devices")?;
            for rule in rules {
                let name = if rule.allow { "devices.allow" } else { "devices.deny" };
                file::write(&path.join(name), &rule.to_v1())?;
            }
            return Ok(());
        }
        let missing = CgroupError::NoController { controller: "devices", path: self.path.clone() };
        let hierarchy = self.root.unified().ok_or(missing)?;
        crate::device::attach(&self.directory(hierarchy), rules)
    }

    fn set_unified(&self, name: &str, value: &str) -> Result<(), CgroupError> {
        let missing = CgroupError::NoController { controller: "unified", path: self.path.clone() };
        let hierarchy = self.root.unified().ok_or(missing)?;
        if name.contains('/') {
            return Err(CgroupError::BadPath { path: name.to_owned() });
        }
        file::write(&self.directory(hierarchy).join(name), value)
    }
}
