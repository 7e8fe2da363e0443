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
        Self::up(hako, &["--listen", "127.0.0.1:0"])
    }

    /// The engine without a cluster.
    pub fn engine(hako: &Path) -> anyhow::Result<Self> {
        Self::up(hako, &["--only", "engine"])
    }

    fn up(hako: &Path, options: &[&str]) -> anyhow::Result<Self> {
        let platform =
            Self { hako: hako.into(), directory: tempfile::Builder::new().prefix("hako-bench-").tempdir()? };
        time(platform.command().args(["up", "--detach"]).args(options))?;
        Ok(platform)
    }

    /// Docker's own command on the engine's socket.
    pub fn docker(&self) -> anyhow::Result<Command> {
        let socket = self.server()?["engine_socket"].as_str().context("engine_socket")?.to_owned();
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{socket}"));
        Ok(command)
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

    /// Where its data directory is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn pid(&self) -> anyhow::Result<u64> {
        self.server()?["pid"].as_u64().context("pid")
    }

    pub fn kubeconfig(&self) -> anyhow::Result<PathBuf> {
        Ok(self.server()?["kubeconfig"].as_str().context("kubeconfig")?.into())
    }

    /// A client of its API, with the administrator's rights.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig()?)?;
        let options = kube::config::KubeConfigOptions::default();
        Ok(kube::Client::try_from(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?)?)
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

/// How busy the machine's cores are, all programs together: near 100 % says that only less work would be faster.
pub struct Busy([f64; 2]);

impl Busy {
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self(Self::read()?))
    }

    pub fn percent(&self) -> anyhow::Result<f64> {
        let [idle, all] = Self::read()?;
        Ok(100.0 * (1.0 - (idle - self.0[0]) / (all - self.0[1]).max(1.0)))
    }

    /// Idle ticks and all ticks of all cores; proc(5), /proc/stat: idle and iowait are the fourth and fifth.
    fn read() -> anyhow::Result<[f64; 2]> {
        let text = std::fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().context("/proc/stat is empty")?;
        let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|one| one.parse().ok()).collect();
        anyhow::ensure!(ticks.len() >= 8, "/proc/stat starts with {line:?}");
        // Guests' ticks, the ninth and tenth, are counted as users' too.
        Ok([ticks[3] + ticks[4], ticks[..8].iter().sum()])
    }
}

/// CPU seconds that a process has used.
pub fn cpu_seconds(pid: u64) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}
