//! What a group used.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::CgroupError;
use crate::file;
use crate::group::Cgroup;
use crate::limits::BlockDevice;
use crate::root::Version;

/// A reading of a group's counters; what a machine does not count is zero or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Memory in use, page cache included, in bytes.
    pub memory_usage: u64,
    /// Memory that cannot be reclaimed at once: usage without inactive file pages.
    pub memory_working_set: u64,
    /// The limit of memory in bytes, if there is one.
    pub memory_limit: Option<u64>,
    /// The most memory that was in use, in bytes.
    pub memory_peak: u64,
    /// How often the limit of memory was hit.
    pub memory_failures: u64,
    /// Swap in use, in bytes.
    pub swap_usage: u64,
    /// The lines of `memory.stat`, in the words of the hierarchy's version.
    pub memory: BTreeMap<String, u64>,
    /// CPU time used in nanoseconds.
    pub cpu_ns: u64,
    /// The part of it in user mode.
    pub cpu_user_ns: u64,
    /// The part of it in the kernel.
    pub cpu_system_ns: u64,
    /// CPU time for each CPU in nanoseconds (version 1 only).
    pub per_cpu_ns: Vec<u64>,
    /// How the quota held the group back.
    pub throttling: Throttling,
    /// Tasks.
    pub pids: u64,
    /// The limit of tasks, if there is one.
    pub pids_limit: Option<u64>,
    /// Block I/O.
    pub io: Vec<IoStat>,
    /// Huge pages in use by page size, in bytes.
    pub hugetlb: BTreeMap<String, u64>,
}

/// How a CPU quota held a group back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods that went by.
    pub periods: u64,
    /// Those in which the group was held back.
    pub throttled: u64,
    /// How long, in nanoseconds.
    pub throttled_ns: u64,
}

/// What was done with one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoStat {
    /// The device.
    pub device: BlockDevice,
    /// `Read`, `Write`, `Discard`, … in version 1's words.
    pub operation: String,
    /// Bytes moved.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
}

impl Cgroup {
    /// Reads the counters.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let mut stats = Stats::default();
        if let Some((version, path)) = self.under("memory") {
            read_memory(&mut stats, version, &path)?;
        }
        self.read_cpu(&mut stats)?;
        if let Some((_, path)) = self.under("pids") {
            stats.pids = file::read_number(&path.join("pids.current"))?.unwrap_or(0);
            stats.pids_limit = file::read_number(&path.join("pids.max"))?;
        }
        if let Some((_, path)) = self.under("blkio") {
            stats.io = read_blkio(&path)?;
        } else if let Some((_, path)) = self.under("io") {
            stats.io = io_stat(&file::read(&path.join("io.stat"))?.unwrap_or_default());
        }
        if let Some((version, path)) = self.under("hugetlb") {
            stats.hugetlb = read_hugetlb(version, &path)?;
        }
        Ok(stats)
    }

    fn read_cpu(&self, stats: &mut Stats) -> Result<(), CgroupError> {
        if let Some((Version::V1, path)) = self.under("cpuacct") {
            let number = |name: &str| Ok(file::read_number(&path.join(name))?.unwrap_or(0));
            stats.cpu_ns = number("cpuacct.usage")?;
            stats.cpu_user_ns = number("cpuacct.usage_user")?;
            stats.cpu_system_ns = number("cpuacct.usage_sys")?;
            let each = file::read(&path.join("cpuacct.usage_percpu"))?.unwrap_or_default();
            stats.per_cpu_ns = each.split_whitespace().filter_map(|one| one.parse().ok()).collect();
        }
        let Some((version, path)) = self.under("cpu").or_else(|| {
            let unified = self.root.unified()?;
            Some((Version::V2, self.directory(unified)))
        }) else {
            return Ok(());
        };
        let found = keyed(&file::read(&path.join("cpu.stat"))?.unwrap_or_default());
        let of = |key: &str| found.get(key).copied().unwrap_or(0);
        stats.throttling = Throttling {
            periods: of("nr_periods"),
            throttled: of("nr_throttled"),
            throttled_ns: of("throttled_time"),
        };
        if version == Version::V2 {
            stats.throttling.throttled_ns = of("throttled_usec").saturating_mul(1000);
            stats.cpu_ns = of("usage_usec").saturating_mul(1000);
            stats.cpu_user_ns = of("user_usec").saturating_mul(1000);
            stats.cpu_system_ns = of("system_usec").saturating_mul(1000);
        }
        Ok(())
    }
}

/// Lines of `key number`.
fn keyed(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn read_memory(stats: &mut Stats, version: Version, path: &Path) -> Result<(), CgroupError> {
    let is_v2 = version == Version::V2;
    let number = |v2: &str, v1: &str| file::read_number(&path.join(if is_v2 { v2 } else { v1 }));
    stats.memory_usage = number("memory.current", "memory.usage_in_bytes")?.unwrap_or(0);
    // Version 1 writes "no limit" as the largest page-aligned number.
    stats.memory_limit = number("memory.max", "memory.limit_in_bytes")?.filter(|limit| *limit < 1 << 62);
    stats.memory_peak = number("memory.peak", "memory.max_usage_in_bytes")?.unwrap_or(0);
    stats.memory = keyed(&file::read(&path.join("memory.stat"))?.unwrap_or_default());
    let inactive = if is_v2 { "inactive_file" } else { "total_inactive_file" };
    let inactive = stats.memory.get(inactive).copied().unwrap_or(0);
    stats.memory_working_set = stats.memory_usage.saturating_sub(inactive);
    if is_v2 {
        stats.memory_failures = file::read_keyed(&path.join("memory.events"), "max")?.unwrap_or(0);
        stats.swap_usage = file::read_number(&path.join("memory.swap.current"))?.unwrap_or(0);
    } else {
        stats.memory_failures = file::read_number(&path.join("memory.failcnt"))?.unwrap_or(0);
        let both = file::read_number(&path.join("memory.memsw.usage_in_bytes"))?.unwrap_or(0);
        stats.swap_usage = both.saturating_sub(stats.memory_usage);
    }
    Ok(())
}

/// Version 1: two files with the same lines. BFQ counts for itself; the throttling layer counts all.
fn read_blkio(path: &Path) -> Result<Vec<IoStat>, CgroupError> {
    let mut found = Vec::new();
    for kind in ["throttle", "bfq"] {
        let read = |what: &str| file::read(&path.join(format!("blkio.{kind}.{what}_recursive")));
        let (bytes, requests) = (read("io_service_bytes")?, read("io_serviced")?);
        found = blkio(&bytes.unwrap_or_default(), &requests.unwrap_or_default());
        if !found.is_empty() {
            break;
        }
    }
    Ok(found)
}

fn blkio(bytes: &str, requests: &str) -> Vec<IoStat> {
    let line = |line: &str| {
        let mut parts = line.split_whitespace();
        let (device, operation, value) = (device(parts.next()?)?, parts.next()?, parts.next()?);
        Some(((device, operation.to_owned()), value.parse::<u64>().ok()?))
    };
    let requests: BTreeMap<_, u64> = requests.lines().filter_map(line).collect();
    let one = |((device, operation), bytes): ((BlockDevice, String), u64)| {
        let requests = requests.get(&(device, operation.clone())).copied().unwrap_or(0);
        IoStat { device, operation, bytes, requests }
    };
    bytes.lines().filter_map(line).map(one).collect()
}

fn device(text: &str) -> Option<BlockDevice> {
    let (major, minor) = text.split_once(':')?;
    Some(BlockDevice { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// Version 2: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
fn io_stat(text: &str) -> Vec<IoStat> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut parts = line.split_whitespace();
        let Some(device) = parts.next().and_then(device) else { continue };
        let values: BTreeMap<&str, u64> = parts
            .filter_map(|part| part.split_once('='))
            .filter_map(|(key, value)| Some((key, value.parse().ok()?)))
            .collect();
        for (operation, bytes, requests) in
            [("Read", "rbytes", "rios"), ("Write", "wbytes", "wios"), ("Discard", "dbytes", "dios")]
        {
            if let (Some(&bytes), Some(&requests)) = (values.get(bytes), values.get(requests)) {
                found.push(IoStat { device, operation: operation.to_owned(), bytes, requests });
            }
        }
    }
    found
}

fn read_hugetlb(version: Version, path: &Path) -> Result<BTreeMap<String, u64>, CgroupError> {
    let end = if version == Version::V2 { ".current" } else { ".usage_in_bytes" };
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if file::is_gone(&error) => return Ok(BTreeMap::new()),
        Err(source) => return Err(file::failed("list", path, source)),
    };
    let mut found = BTreeMap::new();
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let size = name.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(end));
        let Some(size) = size.filter(|size| !size.contains(".rsvd")) else { continue };
        found.insert(size.to_owned(), file::read_number(&entry.path())?.unwrap_or(0));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_block_counters_are_read() {
        let old = blkio("8:0 Read 4096\n8:0 Write 1\nTotal 4097\n", "8:0 Read 2\n");
        let new = io_stat("8:0 rbytes=4096 wbytes=1 rios=2 wios=0 dbytes=0\n\n");
        assert_eq!(old, new);
        assert_eq!((old[0].operation.as_str(), old[0].bytes, old[0].requests), ("Read", 4096, 2));
    }
}
