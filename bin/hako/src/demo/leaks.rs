//! What a platform could leave behind, counted before and after.

use anyhow::Context;
use std::collections::BTreeSet;
use std::path::Path;

/// All of a machine that a platform touches.
#[derive(Debug)]
pub(super) struct Inventory {
    links: BTreeSet<String>,
    mounts: BTreeSet<String>,
    tables: BTreeSet<String>,
}

impl Inventory {
    pub(super) fn take() -> anyhow::Result<Self> {
        Ok(Self { links: links()?, mounts: mounts()?, tables: tables()? })
    }

    /// What is there now and was not before, and whatever bears the instance's name.
    pub(super) fn leaked_since(&self, instance: &str) -> anyhow::Result<Vec<String>> {
        let now = Self::take()?;
        let mut leaked = Vec::new();
        let mut compare = |what: &str, before: &BTreeSet<String>, after: &BTreeSet<String>| {
            leaked.extend(after.difference(before).map(|one| format!("{what} {one}")));
        };
        compare("link", &self.links, &now.links);
        compare("mount", &self.mounts, &now.mounts);
        compare("nft table", &self.tables, &now.tables);
        if !instance.is_empty() {
            leaked.extend(cgroups(instance).into_iter().map(|path| format!("cgroup {path}")));
            leaked.extend(processes(instance)?.into_iter().map(|pid| format!("process {pid}")));
            let run = format!("/run/hako/{instance}");
            leaked.extend(Path::new(&run).exists().then_some(run));
        }
        Ok(leaked)
    }
}

fn pids() -> anyhow::Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc").context("read /proc")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).collect())
}

fn links() -> anyhow::Result<BTreeSet<String>> {
    let entries = std::fs::read_dir("/sys/class/net").context("read /sys/class/net")?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// Those that name something of ours; other programs mount meanwhile too.
fn mounts() -> anyhow::Result<BTreeSet<String>> {
    let table = std::fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    let ours = table.lines().filter(|line| line.contains("hako") || line.contains("/run/netns/"));
    Ok(ours.map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" on ")).collect())
}

fn tables() -> anyhow::Result<BTreeSet<String>> {
    let mut nft = hako_netlink::nft::Nft::open().map_err(hako_error::Error::from)?;
    Ok(nft.tables("hako-").map_err(hako_error::Error::from)?.into_iter().collect())
}

fn cgroups(instance: &str) -> Vec<String> {
    let name = format!("hako-{instance}");
    let mut candidates = vec![Path::new("/sys/fs/cgroup").join(&name)];
    for entry in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        candidates.push(entry.path().join(&name));
    }
    candidates.iter().filter(|path| path.exists()).map(|path| path.display().to_string()).collect()
}

/// Shims and containers are in the instance's groups. A network namespace lives in a process or in a mount: where
/// neither is left, none is.
fn processes(instance: &str) -> anyhow::Result<Vec<i32>> {
    let needle = format!("/hako-{instance}");
    let is_ours = |pid: &i32| {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.contains(&needle) && std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
    };
    Ok(pids()?.into_iter().filter(is_ours).collect())
}
