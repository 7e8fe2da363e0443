//! One group in all hierarchies.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::device::DeviceRule;
use crate::error::CgroupError;
use crate::file;
use crate::limits::{Limits, swap_alone, weight_of_shares};
use crate::root::{CgroupRoot, Hierarchy, Version, make, open_directory};
use crate::stats::Stats;

/// How long [`Cgroup::delete`] and [`Cgroup::freeze`] wait for the kernel to let go of exiting tasks.
const SETTLE: Duration = Duration::from_secs(2);

/// A group: the same path in every hierarchy.
#[derive(Clone, Debug)]
pub struct Cgroup {
    root: CgroupRoot,
    path: String,
}

impl Cgroup {
    pub(crate) fn new(root: CgroupRoot, path: String) -> Self {
        Self { root, path }
    }

    /// The path inside the hierarchies.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    fn directory(&self, hierarchy: &Hierarchy) -> PathBuf {
        hierarchy.mount.join(&self.path[1..])
    }

    /// The directories that exist.
    pub(crate) fn directories(&self) -> impl Iterator<Item = (&Hierarchy, PathBuf)> {
        let all = self.root.hierarchies().iter().map(|one| (one, self.directory(one)));
        all.filter(|(_, path)| path.is_dir())
    }

    /// The group's directory under a controller and the version of that hierarchy.
    fn under(&self, controller: &'static str) -> Option<(Version, PathBuf)> {
        let hierarchy = self.root.with(controller)?;
        Some((hierarchy.version, self.directory(hierarchy)))
    }

    fn needed(&self, controller: &'static str) -> Result<(Version, PathBuf), CgroupError> {
        let missing = || CgroupError::NoController { controller, path: self.path.clone() };
        let hierarchy = self.root.with(controller).ok_or_else(missing)?;
        make(hierarchy, &self.path)?;
        Ok((hierarchy.version, self.directory(hierarchy)))
    }

    /// The directories of version 1's hierarchies, for a process that joins by itself: writing `0` to `tasks`
    /// spares it the kernel's thread-group lock, which costs milliseconds.
    #[must_use]
    pub fn v1_paths(&self) -> Vec<PathBuf> {
        let v1 = self.directories().filter(|(hierarchy, _)| hierarchy.version == Version::V1);
        v1.map(|(_, path)| path).collect()
    }

    /// The unified directory for `CLONE_INTO_CGROUP`, if there is a unified hierarchy.
    pub fn clone_fd(&self) -> Result<Option<OwnedFd>, CgroupError> {
        match self.root.unified() {
            Some(hierarchy) => open_directory(&self.directory(hierarchy)).map(Some),
            None => Ok(None),
        }
    }

    /// Moves a process into the group, in every hierarchy.
    pub fn add_process(&self, pid: u32) -> Result<(), CgroupError> {
        for (_, path) in self.directories() {
            file::write(&path.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Sets limits; those that are `None` stay.
    pub fn set(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.set_memory(limits)?;
        self.set_cpu(limits)?;
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
        self.set_blkio(limits)?;
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

    fn set_blkio(&self, limits: &Limits) -> Result<(), CgroupError> {
        let Some(weight) = limits.blkio_weight.filter(|weight| *weight > 0) else {
            return Ok(());
        };
        if let Some((Version::V2, path)) = self.under("io") {
            let file = ["io.bfq.weight", "io.weight"]
                .map(|name| path.join(name))
                .into_iter()
                .find(|file| file.exists());
            return file.map_or(Ok(()), |file| file::write(&file, &weight.to_string()));
        }
        let (_, path) = self.needed("blkio")?;
        let file = ["blkio.bfq.weight", "blkio.weight"]
            .map(|name| path.join(name))
            .into_iter()
            .find(|file| file.exists());
        file.map_or(Ok(()), |file| file::write(&file, &weight.to_string()))
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

    /// Reads the counters.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let mut stats = Stats::default();
        if let Some((version, path)) = self.under("memory") {
            let (usage, limit, inactive) = match version {
                Version::V2 => ("memory.current", "memory.max", "inactive_file"),
                _ => ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file"),
            };
            stats.memory_usage = file::read_number(&path.join(usage))?.unwrap_or(0);
            // Version 1 writes "no limit" as the largest page-aligned number.
            stats.memory_limit = file::read_number(&path.join(limit))?.filter(|limit| *limit < 1 << 62);
            let inactive = file::read_keyed(&path.join("memory.stat"), inactive)?.unwrap_or(0);
            stats.memory_working_set = stats.memory_usage.saturating_sub(inactive);
        }
        if let Some((Version::V1, path)) = self.under("cpuacct") {
            stats.cpu_ns = file::read_number(&path.join("cpuacct.usage"))?.unwrap_or(0);
        } else if let Some(hierarchy) = self.root.unified() {
            let path = self.directory(hierarchy).join("cpu.stat");
            stats.cpu_ns = file::read_keyed(&path, "usage_usec")?.unwrap_or(0).saturating_mul(1000);
        }
        if let Some((_, path)) = self.under("pids") {
            stats.pids = file::read_number(&path.join("pids.current"))?.unwrap_or(0);
        }
        Ok(stats)
    }

    /// How often the OOM killer killed in this group.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        match self.oom_file() {
            Some((path, _)) => Ok(file::read_keyed(&path, "oom_kill")?.unwrap_or(0)),
            None => Ok(0),
        }
    }

    /// The file that counts OOM kills (key `oom_kill`) and, of version 1, the file that takes an eventfd's
    /// registration; a file of version 2 is watched by inotify.
    #[must_use]
    pub fn oom_file(&self) -> Option<(PathBuf, Option<PathBuf>)> {
        let (version, path) = self.under("memory")?;
        Some(match version {
            Version::V2 => (path.join("memory.events"), None),
            _ => (path.join("memory.oom_control"), Some(path.join("cgroup.event_control"))),
        })
    }

    /// The processes in the group and its descendants.
    pub fn processes(&self) -> Result<Vec<u32>, CgroupError> {
        let tracked = self.directories().find(|(hierarchy, _)| hierarchy.version == Version::V2);
        let Some((_, path)) = tracked.or_else(|| self.directories().next()) else {
            return Ok(Vec::new());
        };
        let mut pids = Vec::new();
        collect_processes(&path, &mut pids)?;
        Ok(pids)
    }

    /// Sends SIGKILL to every process of the group and its descendants.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        let unified = self.root.unified().map(|hierarchy| self.directory(hierarchy).join("cgroup.kill"));
        match unified.filter(|file| file.exists()) {
            Some(file) => file::write(&file, "1")?,
            None => self.kill_each()?,
        }
        // Version 1: a frozen task dies only after it is thawed, and each group has a state of its own.
        match self.under("freezer") {
            Some((Version::V1, path)) if path.is_dir() => thaw(&path),
            _ => Ok(()),
        }
    }

    /// Without `cgroup.kill`: until no process is left, as they may fork meanwhile.
    fn kill_each(&self) -> Result<(), CgroupError> {
        for _ in 0..32 {
            let pids = self.processes()?;
            if pids.is_empty() {
                break;
            }
            for pid in pids {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    // One that is gone already is what we want.
                    let _gone = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
        }
        Ok(())
    }

    /// Stops or continues every task of the group; returns when the kernel says so.
    pub fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        if let Some((Version::V1, _)) = self.under("freezer") {
            let (_, path) = self.needed("freezer")?;
            let (file, want) = (path.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" });
            file::write(&file, want)?;
            return self.settle(|| Ok(file::read(&file)?.as_deref() == Some(want)));
        }
        let missing = CgroupError::NoController { controller: "freezer", path: self.path.clone() };
        let path = self.directory(self.root.unified().ok_or(missing)?);
        file::write(&path.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
        let events = path.join("cgroup.events");
        self.settle(|| Ok(file::read_keyed(&events, "frozen")? == Some(u64::from(frozen))))
    }

    /// Removes the group and its descendants from every hierarchy. Tasks that are exiting are waited for;
    /// [`CgroupError::Busy`] when others are left.
    pub fn delete(&self) -> Result<(), CgroupError> {
        for hierarchy in self.root.hierarchies() {
            let path = self.directory(hierarchy);
            self.settle(|| remove(&path))?;
        }
        Ok(())
    }

    fn settle(&self, mut is_done: impl FnMut() -> Result<bool, CgroupError>) -> Result<(), CgroupError> {
        let started = Instant::now();
        let mut pause = Duration::from_micros(100);
        while !is_done()? {
            if started.elapsed() > SETTLE {
                return Err(CgroupError::Busy { path: self.path.clone() });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// `max` for -1, as version 2 and `pids.max` write it.
fn max_or(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

fn thaw(path: &Path) -> Result<(), CgroupError> {
    file::write(&path.join("freezer.state"), "THAWED")?;
    children(path)?.iter().try_for_each(|child| thaw(child))
}

fn collect_processes(path: &Path, pids: &mut Vec<u32>) -> Result<(), CgroupError> {
    let text = file::read(&path.join("cgroup.procs"))?.unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for child in children(path)? {
        collect_processes(&child, pids)?;
    }
    Ok(())
}

fn children(path: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if file::is_gone(&error) => return Ok(Vec::new()),
        Err(source) => return Err(file::failed("list", path, source)),
    };
    let directories =
        entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(directories.map(|entry| entry.path()).collect())
}

/// Whether the directory is gone; `false` while tasks keep it.
fn remove(path: &Path) -> Result<bool, CgroupError> {
    match fs::remove_dir(path) {
        Ok(()) => return Ok(true),
        Err(error) if file::is_gone(&error) => return Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {}
        Err(source) => return Err(file::failed("remove cgroup", path, source)),
    }
    for child in children(path)? {
        if !remove(&child)? {
            return Ok(false);
        }
    }
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if file::is_gone(&error) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(false),
        Err(source) => Err(file::failed("remove cgroup", path, source)),
    }
}
