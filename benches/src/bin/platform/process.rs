//! A platform of a bench's own, and what its processes use.

use anyhow::Context;
use hako_benches::time;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Platform {
    hako: PathBuf,
    directory: tempfile::TempDir,
}

impl Platform {
    pub fn start(hako: &Path) -> anyhow::Result<Self> {
        let platform =
            Self { hako: hako.into(), directory: tempfile::Builder::new().prefix("hako-bench-").tempdir()? };
        time(platform.command().args(["up", "--detach", "--listen", "127.0.0.1:0"]))?;
        Ok(platform)
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.hako);
        command.arg("--data-dir").arg(self.directory.path().join("data"));
        command
    }

    pub fn import_busybox(&self) -> anyhow::Result<()> {
        time(self.command().args(["image", "import-busybox"])).map(drop)
    }

    pub fn server(&self) -> anyhow::Result<Value> {
        let path = self.directory.path().join("data/server.json");
        Ok(serde_json::from_slice(&std::fs::read(&path).with_context(|| path.display().to_string())?)?)
    }

    pub fn pid(&self) -> anyhow::Result<u64> {
        self.server()?["pid"].as_u64().context("pid")
    }

    pub fn kubeconfig(&self) -> anyhow::Result<PathBuf> {
        Ok(self.server()?["kubeconfig"].as_str().context("kubeconfig")?.into())
    }

    /// The pids of the shims.
    pub fn shims(&self) -> anyhow::Result<Vec<u64>> {
        let needle = format!("/hako-{}/shims", self.server()?["instance"].as_str().context("instance")?);
        let pids = std::fs::read_dir("/proc")?
            .flatten()
            .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
        let is_shim = |pid: &u64| {
            std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default().contains(&needle)
        };
        Ok(pids.filter(is_shim).collect())
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Err(error) = time(self.command().args(["down", "--purge"])) {
            println!("take down: {error:#}");
        }
    }
}

/// A field of /proc/PID/smaps_rollup in KiB, summed over its lines.
pub fn memory_kib(pid: u64, fields: &[&str]) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let value = |line: &str| line.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok());
    Ok(text
        .lines()
        .filter(|line| fields.iter().any(|field| line.starts_with(&format!("{field}:"))))
        .filter_map(value)
        .sum())
}

/// CPU seconds that a process has used.
pub fn cpu_seconds(pid: u64) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}
